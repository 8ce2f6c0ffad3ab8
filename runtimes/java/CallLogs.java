package triplane;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * What calls that overlap write to System.out and System.err: sent as LOG frames of the call that the writing thread
 * belongs to. A thread that a call started belongs to that call. What belongs to none, or to one that ended, goes to
 * the pipe.
 */
final class CallLogs {
    private static final int PIECE_BYTES_MAX = 16 * 1024;

    private final Socket socket;
    private final InheritableThreadLocal<Call> current = new InheritableThreadLocal<>();

    private CallLogs(Socket socket) {
        this.socket = socket;
    }

    /** Puts itself in the place of System.out and System.err. */
    static CallLogs install(Socket socket) {
        CallLogs logs = new CallLogs(socket);
        System.setOut(logs.capture(Frame.STDOUT, System.out));
        System.setErr(logs.capture(Frame.STDERR, System.err));
        return logs;
    }

    private PrintStream capture(int output, PrintStream pipe) {
        return new PrintStream(new Output(output, pipe), false, StandardCharsets.UTF_8) {
            /** One call must not silence the others. */
            @Override
            public void close() {
                flush();
            }
        };
    }

    /** From here on, what this thread writes belongs to that call. */
    Call begin(int stream) {
        Call call = new Call(stream);
        current.set(call);
        return call;
    }

    private final class Output extends OutputStream {
        private final int output;
        private final PrintStream pipe;

        Output(int output, PrintStream pipe) {
            this.output = output;
            this.pipe = pipe;
        }

        @Override
        public void write(int value) throws IOException {
            write(new byte[] {(byte) value}, 0, 1);
        }

        @Override
        public void write(byte[] from, int start, int bytes) throws IOException {
            Call call = current.get();
            if (call == null || !call.add(output, from, start, bytes)) pipe.write(from, start, bytes);
        }

        @Override
        public void flush() {
            Call call = current.get();
            if (call == null || !call.flush(output)) pipe.flush();
        }
    }

    /** The outputs of one call. */
    final class Call {
        private final int stream;
        /** What was written and not sent yet, by output. */
        private final Bytes[] pending = new Bytes[Frame.STDERR + 1];
        private Bytes frame;
        private boolean ended;

        private Call(int stream) {
            this.stream = stream;
        }

        /** Says whether it took the bytes: not any more when the call has ended. */
        private synchronized boolean add(int output, byte[] from, int start, int bytes) {
            if (ended) return false;
            if (pending[output] == null) pending[output] = new Bytes();
            for (int at = 0; at < bytes; at += PIECE_BYTES_MAX) {
                int piece = Math.min(bytes - at, PIECE_BYTES_MAX);
                pending[output].add(from, start + at, piece);
                if (pending[output].count() >= PIECE_BYTES_MAX || hasLine(from, start + at, piece)) send(output, false);
            }
            return true;
        }

        private synchronized boolean flush(int output) {
            if (!ended && pending[output] != null) send(output, false);
            return !ended;
        }

        /** Sends the rest, in the thread that began the call; what comes later belongs to no call. */
        synchronized void end() {
            for (int output = Frame.STDOUT; output <= Frame.STDERR; output += 1) {
                if (pending[output] != null) send(output, true);
            }
            ended = true;
            current.remove();
        }

        private void send(int output, boolean all) {
            Bytes written = pending[output];
            int bytes = all ? written.count() : completeBytes(written.array(), written.count());
            if (bytes == 0) return;
            if (frame == null) frame = new Bytes();
            frame.startFrame(Frame.LOG, stream);
            frame.add(output);
            // Through a text, so that it is UTF-8 whatever the action wrote.
            frame.add(new String(written.array(), 0, bytes, StandardCharsets.UTF_8));
            socket.send(frame);
            int rest = written.count() - bytes;
            System.arraycopy(written.array(), bytes, written.array(), 0, rest);
            written.truncate(rest);
        }
    }

    private static boolean hasLine(byte[] text, int start, int bytes) {
        for (int at = start + bytes - 1; at >= start; at -= 1) {
            if (text[at] == '\n') return true;
        }
        return false;
    }

    /** How many of these bytes do not end in the middle of a character. */
    private static int completeBytes(byte[] utf8, int count) {
        for (int back = 1; back <= Math.min(3, count); back += 1) {
            int lead = utf8[count - back] & 0xff;
            // 10xxxxxx goes on with a character, so the start is further back.
            if ((lead & 0xc0) == 0x80) continue;
            int characterBytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
            return characterBytes > back ? count - back : count;
        }
        return count;
    }
}
