// The templates that are embedded in the program, by name.

/// Every template of Templates/.
enum Templates {
  static let kernelsHeader = Template("kernels.h", PackageResources.kernels_h_in)
  static let convolutionDirect = Template(
    "convolution_direct.c", PackageResources.convolution_direct_c_in)
  static let convolutionWinograd = Template(
    "convolution_winograd.c", PackageResources.convolution_winograd_c_in)
  static let convolutionDepthwise = Template(
    "convolution_depthwise.c", PackageResources.convolution_depthwise_c_in)
  static let convolutionPlain = Template(
    "convolution_plain.c", PackageResources.convolution_plain_c_in)
  static let fullyConnected = Template("fully_connected.c", PackageResources.fully_connected_c_in)
  static let mapBlocked = Template("map_blocked.c", PackageResources.map_blocked_c_in)
  static let mapFlat = Template("map_flat.c", PackageResources.map_flat_c_in)
  static let mapRows = Template("map_rows.c", PackageResources.map_rows_c_in)
  static let copyRows = Template("copy_rows.c", PackageResources.copy_rows_c_in)
  static let fill = Template("fill.c", PackageResources.fill_c_in)
  static let convertLayout = Template("convert_layout.c", PackageResources.convert_layout_c_in)
  static let pool = Template("pool.c", PackageResources.pool_c_in)
  static let globalPool = Template("global_pool.c", PackageResources.global_pool_c_in)
  static let gatherChannels = Template("gather_channels.c", PackageResources.gather_channels_c_in)
  static let softmax = Template("softmax.c", PackageResources.softmax_c_in)
  static let localResponse = Template("lrn.c", PackageResources.lrn_c_in)
  static let reduceRows = Template("reduce_rows.c", PackageResources.reduce_rows_c_in)
  static let matmul = Template("matmul.c", PackageResources.matmul_c_in)
  static let padPlain = Template("pad_plain.c", PackageResources.pad_plain_c_in)
  static let padBlocked = Template("pad_blocked.c", PackageResources.pad_blocked_c_in)
  static let packWinograd = Template("pack_winograd.c", PackageResources.pack_winograd_c_in)
  static let packDirect = Template("pack_direct.c", PackageResources.pack_direct_c_in)
  static let packDepthwise = Template("pack_depthwise.c", PackageResources.pack_depthwise_c_in)
  static let packPlain = Template("pack_plain.c", PackageResources.pack_plain_c_in)
  static let copyVector = Template("copy_vector.c", PackageResources.copy_vector_c_in)
  static let normalizationFactor = Template(
    "normalization_factor.c", PackageResources.normalization_factor_c_in)

  static let machine = Template("machine.c", PackageResources.machine_c_in)

  // Training.
  static let weightGradient = Template(
    "convolution_weight_gradient.c", PackageResources.convolution_weight_gradient_c_in)
  static let weightGradientWinograd = Template(
    "convolution_weight_gradient_winograd.c",
    PackageResources.convolution_weight_gradient_winograd_c_in)
  static let winogradGradientFinish = Template(
    "winograd_gradient_finish.c", PackageResources.winograd_gradient_finish_c_in)
  static let weightGradientLanes = Template(
    "convolution_weight_gradient_lanes.c", PackageResources.convolution_weight_gradient_lanes_c_in)
  static let weightGradientPlain = Template(
    "convolution_weight_gradient_plain.c", PackageResources.convolution_weight_gradient_plain_c_in)
  static let channelSumsBlocked = Template(
    "channel_sums_blocked.c", PackageResources.channel_sums_blocked_c_in)
  static let channelSumsPlain = Template(
    "channel_sums_plain.c", PackageResources.channel_sums_plain_c_in)
  static let channelSumsFinish = Template(
    "channel_sums_finish.c", PackageResources.channel_sums_finish_c_in)
  static let sumAxes = Template("sum_axes.c", PackageResources.sum_axes_c_in)
  static let normalizationSlopes = Template(
    "normalization_slopes.c", PackageResources.normalization_slopes_c_in)
  static let insertZeros = Template("insert_zeros.c", PackageResources.insert_zeros_c_in)
  static let poolGradient = Template("pool_gradient.c", PackageResources.pool_gradient_c_in)
  static let batchOuterProduct = Template(
    "batch_outer_product.c", PackageResources.batch_outer_product_c_in)
  static let crossEntropy = Template("cross_entropy.c", PackageResources.cross_entropy_c_in)
  static let squaredError = Template("squared_error.c", PackageResources.squared_error_c_in)
  static let squaredErrorGradient = Template(
    "squared_error_gradient.c", PackageResources.squared_error_gradient_c_in)
  static let randomDropout = Template("random_dropout.c", PackageResources.random_dropout_c_in)
  static let update = Template("update.c", PackageResources.update_c_in)
  static let squareSum = Template("square_sum.c", PackageResources.square_sum_c_in)
  static let total = Template("total.c", PackageResources.total_c_in)
  static let addSums = Template("add_sums.c", PackageResources.add_sums_c_in)
  static let clipFactor = Template("clip_factor.c", PackageResources.clip_factor_c_in)
  static let transposeWeights = Template(
    "transpose_weights.c", PackageResources.transpose_weights_c_in)
}
