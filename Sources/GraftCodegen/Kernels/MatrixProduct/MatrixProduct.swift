// Products of matrices: fully connected layers, products of computed matrices, outer products over a batch.

import GraftIR
import GraftOps

extension KernelFamily {
  static let matrixProduct = KernelFamily(
    name: "matrix_product",
    rules: [
      .emitting(Gemm.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(MatrixMultiply.self) { operation, node, program in
        try program.lower(operation, node)
      },
      .emitting(BatchOuterProduct.self) { _, node, program in
        try program.lowerBatchOuterProduct(node)
      },
    ])
}
