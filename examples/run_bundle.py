"""Runs a bundle from Python's ctypes and numpy, with nothing of Graft installed.

usage: run_bundle.py BUNDLE INPUT.npy... [--threads N]   prints each output's shape and largest element
       Bundle(folder).run(array, ...) returns the outputs; the layout of the structures is graft.h's.
"""
import ctypes as c
import sys
import numpy as np

u32, u64, i64, ptr, text = c.c_uint32, c.c_uint64, c.c_int64, c.c_void_p, c.c_char_p


def struct(*fields):
    return type("Struct", (c.Structure,), {"_fields_": fields})


Extent = struct(("scale", i64), ("base", i64))
Tensor = struct(("name", text), ("dtype", c.c_int), ("rank", u32), ("extents", Extent * 8), ("step", u32))
Description = struct(
    ("abi_version", u32), ("input_count", u32), ("output_count", u32), ("value_count", u32),
    ("step_count", u32), ("inputs", c.POINTER(Tensor)), ("outputs", c.POINTER(Tensor)))
Options = struct(
    ("struct_bytes", u32), ("flags", u32), ("bundle_path", text), ("packed", ptr),
    ("packed_bytes", u64), ("largest_batch", u64), ("threads", u32), ("reserved", u32),
    ("parallel_for", ptr), ("parallel_context", ptr))
Call = struct(
    ("struct_bytes", u32), ("first_step", u32), ("end_step", u32), ("tap_count", u32),
    ("batch", u64), ("inputs", ptr), ("input_bytes", ptr), ("outputs", ptr), ("output_bytes", ptr),
    ("taps", ptr))
Api = struct(
    ("abi_version", u32), ("table_bytes", u32),
    ("describe", c.CFUNCTYPE(c.POINTER(Description))), ("arena_bytes", ptr),
    ("create", c.CFUNCTYPE(c.c_int, c.POINTER(Options), c.POINTER(ptr), text, c.c_size_t)),
    ("reserve", c.CFUNCTYPE(c.c_int, ptr, u64, text, c.c_size_t)),
    ("run", c.CFUNCTYPE(c.c_int, ptr, c.POINTER(Call), text, c.c_size_t)), ("step_times", ptr),
    ("destroy", c.CFUNCTYPE(None, ptr)))


class Bundle:
    def __init__(self, folder, threads=1):
        library = c.CDLL(f"{folder}/libmodel.so")
        library.graft_model.restype = c.POINTER(Api)
        self.api = library.graft_model().contents
        self.network = self.api.describe().contents
        self.session, self.message = ptr(), c.create_string_buffer(256)
        self.check(self.api.create(
            Options(struct_bytes=c.sizeof(Options), bundle_path=str(folder).encode(),
                    largest_batch=1, threads=threads), c.byref(self.session), self.message, 256))

    def check(self, status):
        if status:
            raise RuntimeError(self.message.value.decode())

    def run(self, *inputs):
        first = self.network.inputs[0]
        axis = next((i for i in range(first.rank) if first.extents[i].scale), None)
        batch = 1 if axis is None else inputs[0].shape[axis] // first.extents[axis].scale
        inputs = [np.ascontiguousarray(x, np.float32) for x in inputs]
        outputs = [
            np.empty([e.scale * batch + e.base for e in t.extents[:t.rank]], np.float32)
            for t in self.network.outputs[:self.network.output_count]]
        self.check(self.api.reserve(self.session, batch, self.message, 256))
        pointers = [(ptr * len(a))(*[x.ctypes.data for x in a]) for a in (inputs, outputs)]
        sizes = [(u64 * len(a))(*[x.nbytes for x in a]) for a in (inputs, outputs)]
        self.check(self.api.run(self.session, Call(
            c.sizeof(Call), 0, self.network.step_count, 0, batch, c.cast(pointers[0], ptr),
            c.cast(sizes[0], ptr), c.cast(pointers[1], ptr), c.cast(sizes[1], ptr), None),
            self.message, 256))
        return outputs

    def close(self):
        self.api.destroy(self.session)


if __name__ == "__main__":
    names = sys.argv[1:]
    threads = int(names[names.index("--threads") + 1]) if "--threads" in names else 1
    names = names[:names.index("--threads")] if "--threads" in names else names
    bundle = Bundle(names[0], threads)
    for output in bundle.run(*[np.load(name) for name in names[1:]]):
        print(output.shape, "largest at", int(output[0].argmax()), "of the first item")
    bundle.close()
