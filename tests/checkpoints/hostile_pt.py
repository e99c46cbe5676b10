"""Files that say .pt and mean harm: python3 hostile_pt.py DIR (standard library alone).

Writes DIR/NAME.pt and prints NAME<TAB>a regular expression of the message with which it must be refused. What would be
executed makes the file DIR/executed.
"""
import io
import pickle
import struct
import sys
import zipfile
from pathlib import Path

out = Path(sys.argv[1])
marker = str(out / "executed")


def op_text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def op_int(n):
    if 0 <= n < 2**31:
        return b"J" + struct.pack("<i", n)
    return b"\x8a\x08" + struct.pack("<q", n)


def op_tuple(*items):
    return b"(" + b"".join(items) + b"t"


def op_tensor(shape, stride, count, offset=0, key="0", kind=b"FloatStorage"):
    storage = op_tuple(op_text("storage"), b"ctorch\n" + kind + b"\n", op_text(key), op_text("cpu"), op_int(count)) + b"Q"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + op_tuple(
        storage, op_int(offset), op_tuple(*map(op_int, shape)), op_tuple(*map(op_int, stride)), b"\x89",
        b"ccollections\nOrderedDict\n)R") + b"R"


def program(body):
    return b"\x80\x02" + body + b"."


def named(tensor, name="module.backbone.norm.weight"):
    return program(b"}" + op_text("encoder") + b"}" + op_text(name) + tensor + b"ss")


def archive(pkl, storages=None, extra=(), method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as z:
        for name, data in [("data.pkl", pkl), *(storages or {}).items(), *extra]:
            z.writestr(zipfile.ZipInfo("archive/" + name), data, compress_type=method)
    return bytearray(buffer.getvalue())


def write(name, data, message):
    (out / f"{name}.pt").write_bytes(data)
    print(f"{name}\t{message}")


def put(data, at, fmt, *values):
    struct.pack_into(fmt, data, at, *values)
    return data


# ---- calls ----
class Call:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


import os  # noqa: E402  (named in the pickles below, never called here)

for protocol in range(6):
    evil = pickle.dumps({"encoder": {"x": Call(os.system, f"touch {marker}")}}, protocol=protocol)
    write(f"system-{protocol}", archive(evil), r"(asks for '(posix|os)\.system'|operation 0x[0-9a-f]{2}).*nothing was executed")
evil = pickle.dumps({"encoder": [[[{"deep": Call(eval, f"open({marker!r}, 'w')")}]]]}, protocol=2)
write("eval-nested", archive(evil), r"asks for '(__builtin__|builtins)\.eval'.*nothing was executed")
evil = pickle.dumps(Call(exec, f"open({marker!r}, 'w')"), protocol=4)
write("exec-stack-global", archive(evil), r"asks for 'builtins\.exec'")
write("inst", archive(program(b"(" + op_text(f"touch {marker}") + b"ios\nsystem\n")), r"operation 0x69.*nothing was executed")
write("obj", archive(program(b"(cos\nsystem\n" + op_text(f"touch {marker}") + b"o")), r"asks for 'os\.system'")
write("newobj", archive(program(b"ccollections\nOrderedDict\n)\x81")), r"operation 0x81")
write("extension", archive(program(b"\x82\x01")), r"operation 0x82")
write("dotted-name", archive(program(b"\x8c\x05torch\x8c\x0chub.download\x93")), r"asks for 'torch\.hub\.download'")
write("unprintable-name", archive(program(b"c\x1b[2Jos\nsys\x07tem\n")), r"asks for '\?\[2Jos\.sys\?tem'")
write("lookalike", archive(program(b"ccollections\nOrderedDict \n")), r"asks for 'collections\.OrderedDict '")
write("call-of-a-storage", archive(program(b"ctorch\nFloatStorage\n)R")), r"a call of torch\.FloatStorage")
write("call-of-a-result", archive(program(b"ccollections\nOrderedDict\n)R)R")), r"a call of something that is no known name")
write("filled-dict-call", archive(program(b"ccollections\nOrderedDict\n" + op_tuple(b"]") + b"R")), r"OrderedDict that is not empty")
write("state-for-a-tensor", archive(named(op_tensor([1], [1], 1) + b"}b"), {"data/0": bytes(4)}), r"a state for something that is no dictionary")
write("state-for-a-name", archive(program(b"ctorch\nFloatStorage\n}b")), r"a state for something that is no dictionary")
write("textual-persistent-id", archive(program(b"P0\n")), r"operation 0x50")

# ---- bombs ----
doubling = b"]" + b"".join(b"q" + bytes([i]) + b"](" + (b"h" + bytes([i])) * 2 + b"e" for i in range(100))
write("memo-bomb", archive(program(doubling)), r"nested more than")
wide = b"]q\x00"
for i in range(10):
    wide += b"](" + (b"h" + bytes([i])) * 200 + b"eq" + bytes([i + 1])
write("wide-memo-bomb", archive(program(wide)), r"more than [0-9]+ values in its dictionaries")
write("holds-itself", archive(program(b"}q\x00" + op_text("encoder") + b"h\x00s")), r"nested more than")
write("deep", archive(program(b"]" * 500_000 + b"a" * 499_999)), r"nested more than")
write("deep-tuples", archive(program(b"N" + b"\x85" * 900_000)), r"nested more than")
write("marks", archive(program(b"(" * 2_000_000)), r"more than [0-9]+ (values|entries)")
write("many-values", archive(program(b"]" + b"Na" * 1_100_000)), r"more than [0-9]+ values")
write("huge-text", archive(program(b"X\xff\xff\xff\xff")), r"a text of 4294967295 bytes")
write("huge-memo", archive(program(b"}r\xff\xff\xff\xff")), r"a memo of more than")
write("huge-integer", archive(program(b"\x8b\xff\xff\xff\x7f")), r"operation 0x8b")
write("wide-integer", archive(program(b"\x8a\xff" + bytes(255))), r"a whole number of 255 bytes")
write("no-stop", archive(b"\x80\x02}"), r"ends in the middle")
write("empty", archive(b""), r"data\.pkl has 0 bytes")

# ---- tensors ----
write("beyond-its-storage", archive(named(op_tensor([8], [1], 4)), {"data/0": bytes(16)}), r"beyond its storage of 4 elements")
write("storage-beyond-the-entry", archive(named(op_tensor([8], [1], 8)), {"data/0": bytes(16)}),
      r"'encoder/module\.backbone\.norm\.weight': its storage has 16 bytes, 8 elements need more")
write("offset-beyond", archive(named(op_tensor([4], [1], 4, offset=1)), {"data/0": bytes(16)}), r"beyond its storage")
write("overflow", archive(named(op_tensor([2**62, 4], [2**62, 1], 2**62)), {"data/0": bytes(16)}), r"beyond its storage")
write("bytes-overflow", archive(named(op_tensor([4], [1], 2**62)), {"data/0": bytes(16)}), r"elements need more")
write("zero-strides", archive(named(op_tensor([2**30, 3, 2, 16], [0, 0, 0, 0], 1)), {"data/0": bytes(4)}), r"repeats elements")
write("negative-size", archive(named(op_tensor([-1], [1], 4)), {"data/0": bytes(16)}), r"sizes and strides")
write("negative-stride", archive(named(op_tensor([4], [-1], 4, offset=3)), {"data/0": bytes(16)}), r"sizes and strides")
write("many-dimensions", archive(named(op_tensor([1] * 40, [1] * 40, 4)), {"data/0": bytes(16)}), r"at most [0-9]+ numbers")
write("no-storage", archive(named(op_tensor([4], [1], 4))), r"\(data/0\) are missing")
write("storage-outside", archive(named(op_tensor([4], [1], 4, key="../../../etc/passwd"))), r"data/\.\./\.\./\.\./etc/passwd\) are missing")
write("complex", archive(named(op_tensor([1], [1], 1, kind=b"ComplexFloatStorage"))), r"asks for 'torch\.ComplexFloatStorage'")
write("whole-numbers", archive(named(op_tensor([4], [1], 4, kind=b"LongStorage")), {"data/0": bytes(32)}), r".")
write("tensor-twice", archive(program(b"}" + op_text("encoder") + b"}" + (op_text("module.backbone.norm.weight") +
      op_tensor([1], [1], 1) + b"s") * 2 + b"s"), {"data/0": bytes(4)}), r"there twice")
write("strange-name", archive(named(op_tensor([1], [1], 1), "a\nb"), {"data/0": bytes(4)}), r"characters that names of tensors do not have")
write("big-endian", archive(named(op_tensor([1], [1], 1)), {"data/0": bytes(4), "byteorder": b"big"}), r"big-endian")

# ---- archives ----
good = named(op_tensor([4], [1], 4))
a = archive(good, {"data/0": bytes(range(16))})
central, end = a.find(b"PK\1\2"), a.find(b"PK\5\6")
second = a.find(b"PK\1\2", central + 1)
first_data = bytes(a).find(good)
write("compressed", archive(good, {"data/0": bytes(16)}, method=zipfile.ZIP_DEFLATED), r"compressed \(method 8\)")
write("encrypted", put(a[:], central + 8, "<H", 1), r"encrypted")
write("wrong-checksum-of-the-pickle", put(a[:], central + 16, "<I", 1), r"do not fit their checksum")
write("pickle-changed", put(a[:], first_data + 2, "<B", ord("]")), r"do not fit their checksum")
write("overlap", put(a[:], second + 42, "<I", 0), r"overlap")
inner = archive(good, {"data/0": b"PK\3\4" + bytes(60)})   # the header of an entry inside the bytes of another one
c = inner.find(b"PK\1\2")
c2 = inner.find(b"PK\1\2", c + 1)
at = bytes(inner).find(b"PK\3\4" + bytes(30))
spare = archive(good, {"data/0": b"PK\3\4" + bytes(60), "data/1": bytes(4)})
c3 = spare.rfind(b"PK\1\2")
write("header-inside-another-entry", put(spare, c3 + 42, "<I", at), r"overlap")
write("entry-over-the-directory", put(a[:], second + 20, "<II", 120, 120),
      r"and the directory overlap")
write("two-sizes", put(a[:], central + 24, "<I", 3), r"has two sizes")
write("begins-behind", put(a[:], central + 42, "<I", 2**31), r"begins behind the end")
write("larger-than-the-file", put(a[:], second + 20, "<II", 2**31, 2**31), r"the file has")
write("zip64-without-sizes", put(a[:], second + 20, "<II", 2**32 - 1, 2**32 - 1), r"lacks its 64-bit sizes")
write("zip64-without-an-end", put(a[:], end + 16, "<I", 2**32 - 1), r"zip64 end is not where it should be")
lie = a[:end] + b"PK\6\7" + struct.pack("<IQI", 0, 2**63, 1) + put(a[end:], 16, "<I", 2**32 - 1)
write("zip64-end-far-away", lie, r"zip64 end is not where it should be")
e64 = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2**60, 2**60, 2**62, central)
lie = a[:end] + e64 + b"PK\6\7" + struct.pack("<IQI", 0, end, 1) + put(a[end:], 16, "<I", 2**32 - 1)
write("zip64-many-entries", lie, r"a directory of 1152921504606846976 entries")
field = struct.pack("<HHQQ", 1, 16, 2**63 - 1, 2**63 - 1)
record = put(put(a[second:end], 20, "<II", 2**32 - 1, 2**32 - 1), 30, "<H", len(field)) + field
lie = a[:second] + record + put(a[end:], 12, "<I", second - central + len(record))
write("zip64-size-of-the-world", lie, r"has 9223372036854775807 bytes")
write("count-lies", put(a[:], end + 8, "<HH", 900, 900), r"a directory of 900 entries")
write("count-short", put(a[:], end + 8, "<HH", 3, 3), r"a directory of 3 entries in [0-9]+ bytes")
write("split-over-disks", put(a[:], end + 4, "<H", 1), r"split over disks")
write("entry-twice", archive(good, {"data/0": bytes(16)}, [("data/0", bytes(16))]), r"there twice")
write("no-pickle", archive(b"").replace(b"data.pkl", b"fata.pkl"), r"without data\.pkl")
write("truncated", a[:-30], r"ends well")
write("cut-in-the-middle", a[:len(a) // 2], r"ends well")
write("nothing", b"", r"too few")
write("a-few-bytes", b"PK\5\6", r"too few")
write("legacy", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(40), r"before PyTorch 1\.6")
write("text", b"encoder: 1\n" * 100, r"ends well")
