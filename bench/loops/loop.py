"""The least that a call costs in Python: one read, JSON both ways, one write."""

import json
import os
import struct

HEADER = struct.Struct('<IBI')
HELLO, INIT_DONE, RESULT, RUN = 1, 2, 3, 0x11


def main(args):
    return {'ok': True}


def send(kind, stream, payload):
    os.write(3, HEADER.pack(len(payload) + 5, kind, stream) + payload)


send(HELLO, 0, b'{"protocol":1}')
while data := os.read(3, 65536):
    length, kind, stream = HEADER.unpack_from(data)
    body = json.loads(data[9:length + 4])
    if kind == RUN:
        send(RESULT, stream, b'\0' + json.dumps(main(body['value'])).encode())
    else:
        send(INIT_DONE, 0, b'\0{}')
