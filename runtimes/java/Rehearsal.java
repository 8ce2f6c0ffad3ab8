package triplane;

import java.lang.invoke.CallSite;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.invoke.StringConcatFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;

/** Walks the ways of a first init and call, which are then loaded and partly compiled. */
final class Rehearsal {
    private static final ClassLoader HOST = Rehearsal.class.getClassLoader();
    private static final String VALUE = "{\"a\":[1,2.5,\"b\\n\",true,null]}";
    private static final String CALL = "{\"value\":" + VALUE + ",\"rehearsal\":\"yes\"}";
    private static final String CLASS = "Sample";
    private static final String SOURCE = "public class Sample {"
        + " public static String main(String text) { return text; } }";
    private static final String GSON_SOURCE = "import com.google.gson.*; public class Sample {"
        + " public static JsonObject main(JsonObject object) { return object; } }";

    private Rehearsal() {}

    /** What most actions need, while a launcher waits for one; only as long as nobody waits for the launcher. */
    static void brief(Socket socket) {
        try {
            if (!socket.hasInput()) callEcho();
            if (!socket.hasInput()) new ActionLoader(ActionLoader.classPath(Path.of("")), Map.of()).close();
            if (!socket.hasInput()) joinTexts();
            if (!socket.hasInput()) Entry.rehearseGson(HOST, new JsonReader(bytes(VALUE)));
        } catch (Throwable error) {
            // There is no gson, or the first call says what is wrong.
        }
    }

    /** All that actions of any kind need, for an archive of classes that is made of the process. */
    static void whole() throws Throwable {
        callEcho();
        Socket socket = Socket.open();
        socket.watch();
        Path directory = Files.createTempDirectory("rehearsal-");
        for (String source : new String[] {SOURCE, GSON_SOURCE}) {
            try {
                loadSource(source, directory.resolve(CLASS));
                loadArchive(source, directory);
            } catch (Throwable error) {
                // There is no compiler or no gson, so that no action can need it either.
            }
        }
        Files.delete(directory);
        CallLogs.install(socket);
    }

    private static void loadSource(String source, Path file) throws Throwable {
        try {
            Files.writeString(file, source);
            load(file, false);
        } finally {
            Files.deleteIfExists(file);
        }
    }

    private static void loadArchive(String source, Path directory) throws Throwable {
        Path file = directory.resolve(CLASS + ".class");
        try {
            Files.write(file, Sources.compileText(source, CLASS).get(CLASS));
            load(directory, true);
        } finally {
            Files.deleteIfExists(file);
        }
    }

    private static void load(Path path, boolean archive) throws Throwable {
        Bytes init = new Bytes();
        new JsonWriter(init).value(Map.of("main", CLASS, "path", path.toString(), "archive", archive, "env", Map.of()));
        byte[] payload = Arrays.copyOf(init.array(), init.count());
        call(Action.load(new Init(new JsonReader(payload)), Environment.open()));
    }

    private static void callEcho() throws Throwable {
        call(new Action(HOST, Rehearsal.class.getName() + "#echo", Environment.open()));
    }

    private static void call(Action action) throws Throwable {
        action.run(new Frame(Frame.RUN, 1, bytes(CALL)), new Bytes().startFrame(Frame.RESULT, 1));
        action.run(new Frame(Frame.RUN, 1, bytes("{}")), new Bytes().startFrame(Frame.RESULT, 1));
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** As `"a" + text + "b"` of an action does; the first time takes the JDK 10 ms and more. */
    private static void joinTexts() throws Throwable {
        MethodType type = MethodType.methodType(String.class, String.class);
        CallSite site = StringConcatFactory.makeConcatWithConstants(MethodHandles.lookup(), "join", type, "a\u0001b");
        String joined = (String) site.getTarget().invokeExact("text");
        if (!joined.equals("atextb")) throw new IllegalStateException(joined);
    }

    public static Map<String, Object> echo(Map<String, Object> value) {
        return value;
    }
}
