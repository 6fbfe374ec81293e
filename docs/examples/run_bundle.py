"""Runs a bundle from Python with nothing but ctypes: the first input's elements in, the first output's out.

usage: python3 run_bundle.py BUNDLE BATCH <input >output
"""
import ctypes as c
import os
import sys


class Extent(c.Structure):
    _fields_ = [("scale", c.c_int64), ("base", c.c_int64)]


class Tensor(c.Structure):
    _fields_ = [("name", c.c_char_p), ("dtype", c.c_int), ("rank", c.c_uint32),
                ("extents", Extent * 8), ("available_after_step", c.c_uint32)]

    def bytes(self, batch):
        total = (0, 4, 2, 2, 8, 1, 1, 4, 8, 1, 2, 2, 4, 8)[self.dtype]
        for extent in self.extents[:self.rank]:
            total *= extent.scale * batch + extent.base
        return total


class Description(c.Structure):
    _fields_ = [("abi_version", c.c_uint32), ("input_count", c.c_uint32), ("output_count", c.c_uint32),
                ("value_count", c.c_uint32), ("step_count", c.c_uint32),
                ("inputs", c.POINTER(Tensor)), ("outputs", c.POINTER(Tensor))]


class Options(c.Structure):
    _fields_ = [("struct_bytes", c.c_uint32), ("flags", c.c_uint32), ("bundle_path", c.c_char_p),
                ("packed", c.c_void_p), ("packed_bytes", c.c_uint64), ("largest_batch", c.c_uint64),
                ("threads", c.c_uint32), ("reserved", c.c_uint32), ("parallel_for", c.c_void_p),
                ("parallel_context", c.c_void_p)]


class Call(c.Structure):
    _fields_ = [("struct_bytes", c.c_uint32), ("first_step", c.c_uint32), ("end_step", c.c_uint32),
                ("tap_count", c.c_uint32), ("batch", c.c_uint64), ("inputs", c.c_void_p),
                ("input_bytes", c.c_void_p), ("outputs", c.c_void_p), ("output_bytes", c.c_void_p),
                ("taps", c.c_void_p)]


class Api(c.Structure):
    _fields_ = [("abi_version", c.c_uint32), ("table_bytes", c.c_uint32),
                ("describe", c.CFUNCTYPE(c.POINTER(Description))),
                ("arena_bytes", c.CFUNCTYPE(c.c_uint64, c.c_uint64, c.c_uint32)),
                ("create", c.CFUNCTYPE(c.c_int, c.POINTER(Options), c.POINTER(c.c_void_p),
                                       c.c_char_p, c.c_size_t)),
                ("reserve", c.c_void_p),
                ("run", c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(Call), c.c_char_p, c.c_size_t)),
                ("step_times", c.c_void_p),
                ("destroy", c.CFUNCTYPE(None, c.c_void_p))]


def run(bundle, batch, data):
    library = c.CDLL(os.path.join(os.path.abspath(bundle), "libmodel.so"))
    library.graft_model.restype = c.POINTER(Api)
    api = library.graft_model().contents
    about = api.describe().contents
    in_bytes, out_bytes = about.inputs[0].bytes(batch), about.outputs[0].bytes(batch)
    if len(data) != in_bytes:
        sys.exit(f"standard input must hold {in_bytes} bytes")
    output, message = c.create_string_buffer(out_bytes), c.create_string_buffer(512)
    session = c.c_void_p()
    options = Options(c.sizeof(Options), 0, bundle.encode(), None, 0, batch, 2, 0, None, None)
    status = api.create(c.byref(options), c.byref(session), message, len(message))
    if status == 0:
        one = c.c_void_p * 1
        sizes = c.c_uint64 * 1
        source = one(c.cast(c.c_char_p(data), c.c_void_p))
        sink, source_size, sink_size = one(c.addressof(output)), sizes(in_bytes), sizes(out_bytes)
        call = Call(c.sizeof(Call), 0, about.step_count, 0, batch, *map(
            c.addressof, (source, source_size, sink, sink_size)), None)
        status = api.run(session, c.byref(call), message, len(message))
        api.destroy(session)
    if status != 0:
        sys.exit(message.value.decode())
    return output.raw


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.stdout.buffer.write(run(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer.read()))
