package triplane;

import java.io.IOException;
import java.io.InputStream;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.security.PermissionCollection;
import java.security.Permissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.jar.Attributes;
import java.util.jar.Manifest;

/**
 * The classes of the action: those that were compiled, those of its archive, and gson of the host unless the archive
 * has its own. It does not see the launcher's.
 */
final class ActionLoader extends URLClassLoader {
    private static final String GSON = "com.google.gson.";
    private static final ClassLoader HOST = ActionLoader.class.getClassLoader();
    /** The first version for which a jar may have classes of its own. */
    private static final int FIRST_VERSION = 9;

    static {
        registerAsParallelCapable();
    }

    private final Map<String, byte[]> compiled;
    private final boolean hasGson;

    ActionLoader(List<Path> classPath, Map<String, byte[]> compiled) throws MalformedURLException {
        super(urls(classPath), ClassLoader.getPlatformClassLoader());
        this.compiled = compiled;
        hasGson = has(GSON + "JsonObject");
    }

    /** Whether the archive has a class of that name. */
    boolean has(String className) {
        return findResource(className.replace('.', '/') + ".class") != null;
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
        byte[] code = compiled.get(name);
        if (code != null) return defineClass(name, code, 0, code.length);
        return !hasGson && name.startsWith(GSON) ? HOST.loadClass(name) : super.findClass(name);
    }

    /** Nothing asks for them, and to find out the usual ones takes the JDK longer than all else of loading a class. */
    @Override
    protected PermissionCollection getPermissions(CodeSource source) {
        return new Permissions();
    }

    /** Where classes of an unpacked archive are: in it, in jars beside them, and in jars in `lib`. */
    static List<Path> classPath(Path archive) throws IOException {
        List<Path> path = new ArrayList<>();
        addVersions(archive, path);
        path.add(archive);
        addJars(archive, path);
        addJars(archive.resolve("lib"), path);
        return path;
    }

    /** The classes for newer versions of Java that some jars have; for a directory nothing else heeds them. */
    private static void addVersions(Path archive, List<Path> path) throws IOException {
        Path versions = archive.resolve("META-INF").resolve("versions");
        if (!Files.isDirectory(versions) || !isMultiRelease(archive)) return;
        for (int version = Runtime.version().feature(); version >= FIRST_VERSION; version -= 1) {
            Path directory = versions.resolve(String.valueOf(version));
            if (Files.isDirectory(directory)) path.add(directory);
        }
    }

    private static boolean isMultiRelease(Path archive) throws IOException {
        Path file = archive.resolve("META-INF").resolve("MANIFEST.MF");
        if (!Files.exists(file)) return false;
        try (InputStream in = Files.newInputStream(file)) {
            Attributes attributes = new Manifest(in).getMainAttributes();
            return "true".equalsIgnoreCase(attributes.getValue(Attributes.Name.MULTI_RELEASE));
        }
    }

    private static void addJars(Path directory, List<Path> path) {
        String[] names = directory.toFile().list();
        if (names == null) return;
        Arrays.sort(names);
        for (String name : names) {
            if (name.endsWith(".jar")) path.add(directory.resolve(name));
        }
    }

    private static URL[] urls(List<Path> classPath) throws MalformedURLException {
        URL[] urls = new URL[classPath.size()];
        for (int i = 0; i < urls.length; i += 1) urls[i] = classPath.get(i).toUri().toURL();
        return urls;
    }
}
