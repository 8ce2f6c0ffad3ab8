# frozen_string_literal: true

# The least that a call costs in Ruby: one read, JSON both ways, one write.

require 'json'

HELLO = 1
INIT_DONE = 2
RESULT = 3
RUN = 0x11
SOCKET = IO.for_fd(3, 'r+b')
SOCKET.sync = true

def main(_args)
  { ok: true }
end

def answer(kind, stream, payload)
  SOCKET.write([payload.bytesize + 5, kind, stream, payload].pack('VCVa*'))
end

answer(HELLO, 0, '{"protocol":1}')
loop do
  data = SOCKET.readpartial(65_536)
  length, kind, stream = data.unpack('VCV')
  body = JSON.parse(data.byteslice(9, length - 5))
  if kind == RUN
    answer(RESULT, stream, "\0#{main(body['value']).to_json}")
  else
    answer(INIT_DONE, 0, "\0{}")
  end
rescue EOFError
  exit
end
