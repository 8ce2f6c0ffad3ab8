package triplane;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** How the launcher ends its process. */
final class Exit {
    static final int CLOSED = 0;
    /** As the virtual machine's own option to exit when memory is exhausted. */
    static final int NO_MEMORY = 3;
    static final int BAD_FRAME = 70;
    static final int LOST = 71;

    private Exit() {}

    /**
     * Ends the process at once: neither hooks of the action nor its threads can hold it up. Does not return; it is
     * declared to, so that callers can `throw` it where the compiler wants to see an end.
     */
    static Error with(int code, String text) {
        try {
            if (text != null) {
                FileOutputStream stderr = new FileOutputStream(FileDescriptor.err);
                stderr.write(("launcher: " + text + "\n").getBytes(StandardCharsets.UTF_8));
            }
        } catch (IOException | OutOfMemoryError unheard) {
            // Nobody reads stderr, or there is no memory for a text: the exit code has to do.
        } finally {
            Runtime.getRuntime().halt(code);
        }
        return new Error();
    }

    static Error with(int code) {
        return with(code, null);
    }
}
