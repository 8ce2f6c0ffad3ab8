package triplane;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;

/**
 * The socket to the proxy, as file descriptor 3. Java has no way to it but a constructor that is private: /proc/self/fd
 * opens no sockets. A stream on a descriptor reads and writes a socket as it does a file.
 */
final class Socket {
    private static final int DESCRIPTOR = 3;
    /** The JDK reads this much without asking for memory outside of the heap. */
    private static final int READ_BUFFER_BYTES = 8 * 1024;
    /** It does ask for what is larger, so large payloads go in pieces. */
    private static final int PIECE_BYTES_MAX = 256 * 1024;

    private final FileDescriptor descriptor;
    private final FileInputStream in;
    private final FileOutputStream out;
    private final byte[] buffer = new byte[READ_BUFFER_BYTES];
    private int start;
    private int end;

    private Socket(FileDescriptor descriptor) {
        this.descriptor = descriptor;
        in = new FileInputStream(descriptor);
        out = new FileOutputStream(descriptor);
    }

    static Socket open() {
        try {
            Constructor<FileDescriptor> constructor = FileDescriptor.class.getDeclaredConstructor(int.class);
            constructor.setAccessible(true);
            return new Socket(constructor.newInstance(DESCRIPTOR));
        } catch (ReflectiveOperationException | RuntimeException error) {
            throw Exit.with(Exit.LOST, "file descriptor 3 cannot be reached, java.base/java.io must be open: " + error);
        }
    }

    /** Whether something can be read without waiting. */
    boolean hasInput() {
        try {
            return start < end || in.available() > 0;
        } catch (IOException error) {
            throw Exit.with(Exit.LOST);
        }
    }

    /** Waits for the next frame. One thread at a time; the process ends when there will be none. */
    Frame read() {
        while (end - start < Frame.HEADER_BYTES) fill();
        int kind = buffer[start + Frame.LENGTH_BYTES] & 0xff;
        int stream = intAt(start + Frame.LENGTH_BYTES + 1);
        int bytes = payloadBytes(intAt(start));
        start += Frame.HEADER_BYTES;
        return new Frame(kind, stream, readPayload(bytes));
    }

    private byte[] readPayload(int bytes) {
        byte[] payload;
        try {
            payload = new byte[bytes];
        } catch (OutOfMemoryError tooLarge) {
            return null;
        }
        int ready = Math.min(bytes, end - start);
        System.arraycopy(buffer, start, payload, 0, ready);
        start += ready;
        while (ready < bytes) ready += read(payload, ready, Math.min(bytes - ready, PIECE_BYTES_MAX));
        return payload;
    }

    private static int payloadBytes(int length) {
        int bytes = length - Frame.HEAD_TAIL_BYTES;
        if (length < Frame.HEAD_TAIL_BYTES || bytes > Frame.PAYLOAD_BYTES_MAX) {
            throw Exit.with(Exit.BAD_FRAME, "frame length " + Integer.toUnsignedLong(length) + " is out of range");
        }
        return bytes;
    }

    private int intAt(int at) {
        int low = (buffer[at] & 0xff) | (buffer[at + 1] & 0xff) << 8;
        return low | (buffer[at + 2] & 0xff) << 16 | buffer[at + 3] << 24;
    }

    private void fill() {
        if (start > 0) {
            System.arraycopy(buffer, start, buffer, 0, end - start);
            end -= start;
            start = 0;
        }
        end += read(buffer, end, buffer.length - end);
    }

    private int read(byte[] into, int at, int bytes) {
        try {
            int count = in.read(into, at, bytes);
            if (count < 0) throw Exit.with(Exit.CLOSED);
            return count;
        } catch (IOException error) {
            throw Exit.with(Exit.LOST);
        }
    }

    /** Sends a frame whole, whatever other threads send, and forgets it. Waits while the proxy does not read. */
    void send(Bytes frame) {
        frame.endFrame();
        try {
            synchronized (out) {
                for (int at = 0; at < frame.count(); at += PIECE_BYTES_MAX) {
                    out.write(frame.array(), at, Math.min(frame.count() - at, PIECE_BYTES_MAX));
                }
            }
        } catch (IOException error) {
            throw Exit.with(Exit.LOST);
        }
        frame.forget();
    }

    /** Ends the process when the proxy closes the socket while all threads run calls, so that nobody reads. */
    void watch() {
        new Watcher(descriptor).start();
    }

    /**
     * Sleeps in poll(2) until the other side hangs up, which costs the calls nothing. Java has that for itself only;
     * without access to it the end is seen when a call ends.
     */
    private static final class Watcher extends Thread {
        /** Linux's POLLRDHUP: the other side writes no more. */
        private static final int HANG_UP = 0x2000;
        private static final long FOR_EVER = -1;
        private static final long STACK_BYTES = 256 * 1024;

        private final FileDescriptor descriptor;

        Watcher(FileDescriptor descriptor) {
            super(null, null, "launcher", STACK_BYTES, false);
            this.descriptor = descriptor;
            setDaemon(true);
        }

        @Override
        public void run() {
            try {
                Class<?> net = Class.forName("sun.nio.ch.Net");
                Method poll = net.getDeclaredMethod("poll", FileDescriptor.class, int.class, long.class);
                poll.setAccessible(true);
                // It returns 0 when a signal woke it.
                while ((int) poll.invoke(null, descriptor, HANG_UP, FOR_EVER) == 0) continue;
            } catch (ReflectiveOperationException | RuntimeException error) {
                return;
            }
            Exit.with(Exit.CLOSED);
        }
    }
}
