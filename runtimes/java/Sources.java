package triplane;

import static java.util.stream.Collectors.toList;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.io.StringWriter;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.StandardLocation;
import javax.tools.ToolProvider;

/** Java source, and the JDK's compiler that makes classes of it: in memory, since the code's directory is read-only. */
final class Sources {
    private static final String SUFFIX = ".java";
    /** Joins texts by a StringBuilder: the other way costs the first call 10 ms and more. */
    private static final List<String> OPTIONS = List.of("-nowarn", "-XDstringConcat=inline");
    private static final String NO_COMPILER = "this Java has no compiler, so the code must be a jar";

    private Sources() {}

    /** Compiles one text; errors show it as the file that its main class would be in. */
    static Map<String, byte[]> compileText(String code, String mainClass) throws ActionException, IOException {
        return compile(files -> List.of(new Text(code, mainClass)), List.of());
    }

    /** Compiles all files of an archive that are source; none is no error. */
    static Map<String, byte[]> compileArchive(Path archive, List<Path> classPath) throws ActionException, IOException {
        List<File> found;
        try (Stream<Path> all = Files.walk(archive)) {
            found = all.filter(file -> file.toString().endsWith(SUFFIX)).map(Path::toFile).collect(toList());
        }
        return found.isEmpty() ? Map.of() : compile(files -> files.getJavaFileObjectsFromFiles(found), classPath);
    }

    /** Which source to compile, when there is a file manager. */
    private interface Selection {
        Iterable<? extends JavaFileObject> of(StandardJavaFileManager files);
    }

    private static Map<String, byte[]> compile(Selection sources, List<Path> classPath)
            throws ActionException, IOException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        if (compiler == null) {
            throw new ActionException(Action.FAILED + NO_COMPILER, NO_COMPILER);
        }
        StringWriter messages = new StringWriter();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
                Classes classes = new Classes(files)) {
            files.setLocationFromPaths(StandardLocation.CLASS_PATH, withGson(classPath));
            var task = compiler.getTask(messages, classes, null, OPTIONS, null, sources.of(files));
            if (task.call()) return classes.bytes();
        }
        throw new ActionException(Action.NOT_COMPILED, messages.toString().stripTrailing());
    }

    private static List<Path> withGson(List<Path> classPath) {
        List<Path> all = new ArrayList<>(classPath);
        Path gson = hostGson();
        if (gson != null) all.add(gson);
        return all;
    }

    private static Path hostGson() {
        try {
            CodeSource source = Class.forName("com.google.gson.JsonObject").getProtectionDomain().getCodeSource();
            return source == null ? null : Path.of(source.getLocation().toURI());
        } catch (ClassNotFoundException | URISyntaxException none) {
            return null;
        }
    }

    private static final class Text extends SimpleJavaFileObject {
        private final String code;

        Text(String code, String mainClass) {
            super(URI.create("action:///" + simpleName(mainClass) + SUFFIX), Kind.SOURCE);
            this.code = code;
        }

        private static String simpleName(String className) {
            String name = className.substring(className.lastIndexOf('.') + 1);
            return name.chars().allMatch(Character::isJavaIdentifierPart) && !name.isEmpty() ? name : "Action";
        }

        /** Without the slash that starts a path. */
        @Override
        public String getName() {
            return super.getName().substring(1);
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return code;
        }

        /** The text came without the name of its file. */
        @Override
        public boolean isNameCompatible(String simpleName, Kind kind) {
            return kind == Kind.SOURCE;
        }
    }

    /** Keeps classes instead of writing them to files. */
    private static final class Classes extends ForwardingJavaFileManager<JavaFileManager> {
        private final Map<String, ByteArrayOutputStream> written = new HashMap<>();

        Classes(JavaFileManager files) {
            super(files);
        }

        Map<String, byte[]> bytes() {
            Map<String, byte[]> bytes = new HashMap<>();
            written.forEach((name, code) -> bytes.put(name, code.toByteArray()));
            return bytes;
        }

        @Override
        public JavaFileObject getJavaFileForOutput(
                Location location, String className, JavaFileObject.Kind kind, FileObject sibling) {
            URI name = URI.create("action:///" + className.replace('.', '/') + kind.extension);
            return new SimpleJavaFileObject(name, kind) {
                @Override
                public OutputStream openOutputStream() {
                    return written.computeIfAbsent(className, key -> new ByteArrayOutputStream());
                }
            };
        }
    }
}
