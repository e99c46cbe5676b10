"""Writes tfevents.bin: the event file that tests/runtime/test_tfevents.c makes, by TensorBoard's own classes.

    python3 tests/golden/make_tfevents.py tests/golden/tfevents.bin     (tensorboard 2.x)
"""
import sys

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

START = event_pb2.SessionLog(status=event_pb2.SessionLog.START)


def scalars(wall, step, **values):
    return event_pb2.Event(wall_time=wall, step=step, summary=summary_pb2.Summary(
        value=[summary_pb2.Summary.Value(tag=tag.replace("__", "/"), simple_value=v) for tag, v in values.items()]))


with open(sys.argv[1], "wb") as f:
    w = RecordWriter(f)
    for event in [
        event_pb2.Event(wall_time=1700000000.25, file_version="brain.Event:2"),
        event_pb2.Event(wall_time=1700000000.25, step=21, session_log=START),
        scalars(1700000001.5, 30, train__loss=0.75, held_out__ratio=-1.0 / 3.0, zero=0.0),
        scalars(1700000002.0, 1 << 40, **{"train__loss": 1e-30, "t" * 200: 65504.0}),
        scalars(1700000003.0, 0, train__loss=2.0),
    ]:
        w.write(event.SerializeToString())
    w.close()
