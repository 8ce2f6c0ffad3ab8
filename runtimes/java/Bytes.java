package triplane;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A buffer that grows, for the frame that is being built. */
final class Bytes {
    private static final int KEPT_BYTES_MAX = 64 * 1024;
    private static final int FIRST_BYTES = 512;
    /** What the largest array may be in every virtual machine. */
    private static final int ARRAY_BYTES_MAX = Integer.MAX_VALUE - 8;

    private byte[] array = new byte[FIRST_BYTES];
    private int count;

    byte[] array() {
        return array;
    }

    int count() {
        return count;
    }

    /** Forgets all, and gives back what one large frame needed. */
    void forget() {
        count = 0;
        if (array.length > KEPT_BYTES_MAX) array = new byte[FIRST_BYTES];
    }

    /** Forgets what is after the first so many bytes. */
    void truncate(int bytes) {
        count = bytes;
    }

    /** Starts a frame; what was in the buffer is gone. */
    Bytes startFrame(int kind, int stream) {
        array[Frame.LENGTH_BYTES] = (byte) kind;
        putInt(Frame.LENGTH_BYTES + 1, stream);
        count = Frame.HEADER_BYTES;
        return this;
    }

    /** Ends the frame: its length is known now. */
    void endFrame() {
        putInt(0, count - Frame.LENGTH_BYTES);
    }

    private void putInt(int at, int value) {
        array[at] = (byte) value;
        array[at + 1] = (byte) (value >>> 8);
        array[at + 2] = (byte) (value >>> 16);
        array[at + 3] = (byte) (value >>> 24);
    }

    void add(int value) {
        if (count == array.length) grow(1);
        array[count++] = (byte) value;
    }

    void add(byte[] from, int start, int bytes) {
        grow(bytes);
        System.arraycopy(from, start, array, count, bytes);
        count += bytes;
    }

    /** Adds a text as UTF-8. */
    void add(String text) {
        byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
        add(encoded, 0, encoded.length);
    }

    private void grow(int more) {
        int needed = Math.addExact(count, more);
        if (needed <= array.length) return;
        array = Arrays.copyOf(array, (int) Math.max(needed, Math.min(array.length * 2L, ARRAY_BYTES_MAX)));
    }
}
