import com.google.gson.Gson;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.lang.reflect.Constructor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** The least that a call costs in Java: one read, JSON both ways, one write. */
public final class Loop {
    private static final int HELLO = 1;
    private static final int INIT_DONE = 2;
    private static final int RESULT = 3;
    private static final int RUN = 0x11;
    private static final Gson GSON = new Gson();

    private static Map<String, Object> call(Map<String, Object> args) {
        return Map.of("ok", true);
    }

    private static void send(FileOutputStream out, int kind, int stream, String payload) throws Exception {
        byte[] text = payload.getBytes(StandardCharsets.UTF_8);
        ByteBuffer frame = ByteBuffer.allocate(9 + text.length).order(ByteOrder.LITTLE_ENDIAN);
        out.write(frame.putInt(5 + text.length).put((byte) kind).putInt(stream).put(text).array());
    }

    @SuppressWarnings("unchecked")
    public static void main(String[] arguments) throws Exception {
        Constructor<FileDescriptor> constructor = FileDescriptor.class.getDeclaredConstructor(int.class);
        constructor.setAccessible(true);
        FileDescriptor socket = constructor.newInstance(3);
        FileInputStream in = new FileInputStream(socket);
        FileOutputStream out = new FileOutputStream(socket);
        byte[] data = new byte[8192];
        send(out, HELLO, 0, "{\"protocol\":1}");
        while (in.read(data) > 0) {
            ByteBuffer frame = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
            int length = frame.getInt();
            byte kind = frame.get();
            int stream = frame.getInt();
            Map<String, Object> body = GSON.fromJson(new String(data, 9, length - 5, StandardCharsets.UTF_8), Map.class);
            if (kind == RUN) {
                send(out, RESULT, stream, "\0" + GSON.toJson(call((Map<String, Object>) body.get("value"))));
            } else {
                send(out, INIT_DONE, 0, "\0{}");
            }
        }
    }
}
