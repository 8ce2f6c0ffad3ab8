package triplane;

/** A frame that the proxy sent; the numbers are those of crates/wire/src/framed.rs. */
final class Frame {
    static final int PROTOCOL = 1;
    static final int HELLO = 0x01;
    static final int INIT_DONE = 0x02;
    static final int RESULT = 0x03;
    static final int LOG = 0x04;
    static final int CHUNK = 0x05;
    static final int INIT = 0x10;
    static final int RUN = 0x11;
    static final int CANCEL = 0x12;
    static final int STATUS_OK = 0;
    static final int STATUS_FAILED = 1;
    static final int STDOUT = 1;
    static final int STDERR = 2;
    /** The stream of what belongs to no call. */
    static final int NO_STREAM = 0;
    static final int HEADER_BYTES = 9;
    /** A header is the length, then type and stream, which the length counts. */
    static final int LENGTH_BYTES = 4;
    static final int HEAD_TAIL_BYTES = HEADER_BYTES - LENGTH_BYTES;
    /** A payload may be 48 MB (OpenWhisk's limit of a body); JSON escapes and the context of the call come on top. */
    static final int PAYLOAD_BYTES_MAX = 128 * 1024 * 1024;

    final int kind;
    final int stream;
    /** Null when there was no memory for it, so that its call can still be answered. */
    private byte[] payload;

    Frame(int kind, int stream, byte[] payload) {
        this.kind = kind;
        this.stream = stream;
        this.payload = payload;
    }

    /** Gives the payload away, so that a large one is not kept while the action runs. */
    byte[] takePayload() {
        if (payload == null) throw new OutOfMemoryError("a frame is larger than the heap");
        byte[] taken = payload;
        payload = null;
        return taken;
    }
}
