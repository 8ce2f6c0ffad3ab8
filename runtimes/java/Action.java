package triplane;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The action that was loaded. Texts are those of OpenWhisk's Java runtimes. */
final class Action {
    static final String CALL_FAILED = "An error has occurred while invoking the action (see logs for details): ";
    static final String FAILED = "An error has occurred (see logs for details): ";
    static final String NOT_COMPILED = "The action failed to generate or locate a binary. See logs for details.";
    private static final String NOTHING = "Missing main/no code to execute.";
    private static final String RETURNED_NULL = "java.lang.NullPointerException: The action returned null";
    private static final String NO_ENTRY = "java.lang.NoSuchMethodException: ";
    private static final String HINT = "launcher: it must be public and static, and take and return JsonObject or"
        + " JsonArray of gson, Map or List, or String";
    private static final String NO_GSON = "launcher: gson is neither in the action nor on the host (package"
        + " libgoogle-gson-java)";
    private static final String BAD_ARGUMENT = "the argument is neither an object nor an array";
    private static final byte[] EMPTY = {'{', '}'};

    private final ClassLoader loader;
    private final Environment environment;
    /** As in the text of an error. */
    private final String mainName;
    private final Entry forObjects;
    private final Entry forArrays;

    /** What a call gets. */
    private static final class Input {
        final Map<String, String> context = new HashMap<>();
        Entry entry;
        Object argument;
    }

    /** Finds `Class` or `Class#method` among the classes of a loader, and initialises the class. */
    Action(ClassLoader loader, String main, Environment environment)
            throws ReflectiveOperationException, ActionException {
        this.loader = loader;
        this.environment = environment;
        String className = className(main);
        String[] parts = main.split("#");
        String method = parts.length > 1 ? parts[1] : "main";
        mainName = className + "." + method;
        try {
            Class<?> owner = Class.forName(className, true, loader);
            forObjects = Entry.find(owner, method, false);
            forArrays = Entry.find(owner, method, true);
        } catch (NoClassDefFoundError error) {
            if (!String.valueOf(error.getMessage()).startsWith("com/google/gson/")) throw error;
            throw new ActionException(FAILED + error, error + "\n" + NO_GSON);
        }
        if (forObjects == null && forArrays == null) throw noEntry("JsonObject");
    }

    /** `main` is what a client that names no class means, and OpenWhisk takes it for this class. */
    private static String className(String main) {
        return main.equals("main") ? "Main" : main.split("#", 2)[0];
    }

    private ActionException noEntry(String parameter) {
        String text = NO_ENTRY + mainName + "(com.google.gson." + parameter + ")";
        return new ActionException(FAILED + text, text + "\n" + HINT);
    }

    /** Loads what an init names: an archive's directory, or a file of source. */
    static Action load(Init init, Environment environment)
            throws ReflectiveOperationException, ActionException, IOException {
        if (init.main.isEmpty() || init.path.isEmpty()) throw nothing();
        Path path = Path.of(init.path);
        String mainClass = className(init.main);
        ActionLoader loader = init.archive ? archive(path, mainClass) : source(path, mainClass);
        Thread.currentThread().setContextClassLoader(loader);
        return new Action(loader, init.main, environment);
    }

    private static ActionException nothing() {
        return new ActionException(NOTHING, null);
    }

    private static ActionLoader archive(Path archive, String mainClass) throws ActionException, IOException {
        List<Path> classPath = ActionLoader.classPath(archive);
        ActionLoader loader = new ActionLoader(classPath, Map.of());
        if (loader.has(mainClass)) return loader;
        return new ActionLoader(classPath, Sources.compileArchive(archive, classPath));
    }

    private static ActionLoader source(Path file, String mainClass) throws ActionException, IOException {
        String code = Files.readString(file, StandardCharsets.UTF_8);
        if (code.startsWith("\ufeff")) code = code.substring(1);
        if (code.isEmpty()) throw nothing();
        return new ActionLoader(List.of(), Sources.compileText(code, mainClass));
    }

    /** Runs a call and writes its result. What main throws comes as InvocationTargetException. */
    void run(Frame frame, Bytes to) throws Throwable {
        Input input = read(new JsonReader(frame.takePayload()));
        environment.setForCall(input.context);
        Thread.currentThread().setContextClassLoader(loader);
        Object result = input.entry.call(input.argument);
        if (result == null) throw new ActionException(FAILED + RETURNED_NULL, RETURNED_NULL);
        input.entry.write(result, to);
    }

    private Input read(JsonReader body) throws Throwable {
        Input input = new Input();
        for (boolean more = body.enter('{', '}'); more; more = body.goesOn('}')) {
            String name = body.name();
            if (name.equals("value")) readValue(body, input);
            else if (body.peek() == '"') input.context.put(name, body.string());
            else body.skip();
        }
        body.end();
        if (input.entry == null) readValue(new JsonReader(EMPTY), input);
        return input;
    }

    private void readValue(JsonReader body, Input input) throws Throwable {
        int first = body.peek();
        if (first == 'n') {
            body.skip();
            return;
        }
        if (first != '{' && first != '[') {
            body.skip();
            throw new ActionException(FAILED + BAD_ARGUMENT, BAD_ARGUMENT);
        }
        input.entry = first == '{' ? forObjects : forArrays;
        if (input.entry == null) throw noEntry(first == '{' ? "JsonObject" : "JsonArray");
        input.argument = input.entry.argument(body);
    }
}
