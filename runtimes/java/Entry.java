package triplane;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.List;
import java.util.Map;

/** A method to call with one kind of argument, and how JSON becomes that argument and its result JSON. */
abstract class Entry {
    private static final String GSON = "com.google.gson.";
    private static final String[] FOR_OBJECTS = {GSON + "JsonObject", "java.util.Map", "java.lang.String"};
    private static final String[] FOR_ARRAYS = {GSON + "JsonArray", "java.util.List", "java.lang.String"};

    private Method main;

    /** Reads a value as the argument. */
    abstract Object argument(JsonReader value) throws ReflectiveOperationException;

    abstract void write(Object result, Bytes to);

    final Object call(Object argument) throws ReflectiveOperationException {
        return main.invoke(null, argument);
    }

    /** The entry for objects, or for arrays; null when there is none. Gson goes before trees, and they before text. */
    static Entry find(Class<?> owner, String name, boolean array) throws ReflectiveOperationException {
        String[] parameters = array ? FOR_ARRAYS : FOR_OBJECTS;
        Method[] methods = owner.getMethods();
        for (String parameter : parameters) {
            for (Method method : methods) {
                Entry entry = method.getName().equals(name) ? of(method, parameter) : null;
                if (entry != null) return entry;
            }
        }
        return null;
    }

    private static Entry of(Method method, String parameter) throws ReflectiveOperationException {
        Class<?>[] types = method.getParameterTypes();
        if (types.length != 1 || !types[0].getName().equals(parameter)) return null;
        Entry entry = Modifier.isStatic(method.getModifiers()) ? ofTypes(types[0], method.getReturnType()) : null;
        if (entry == null) return null;
        // The class itself may be anything but public.
        method.setAccessible(true);
        entry.main = method;
        return entry;
    }

    private static Entry ofTypes(Class<?> parameter, Class<?> result) throws ReflectiveOperationException {
        if (parameter == String.class) return result == String.class ? new Text() : null;
        if (!parameter.getName().startsWith(GSON)) {
            return Map.class.isAssignableFrom(result) || List.class.isAssignableFrom(result) ? new Tree() : null;
        }
        String name = result.getName();
        boolean fits = name.equals(GSON + "JsonObject") || name.equals(GSON + "JsonArray");
        return fits ? new Gson(parameter.getClassLoader()) : null;
    }

    /** Walks the way of an action that uses the gson of this loader. */
    static void rehearseGson(ClassLoader loader, JsonReader value) throws ReflectiveOperationException {
        Entry entry = new Gson(loader);
        entry.write(entry.argument(value), new Bytes());
    }

    /** JSON text. */
    private static final class Text extends Entry {
        @Override
        Object argument(JsonReader value) {
            return value.valueText();
        }

        @Override
        void write(Object result, Bytes to) {
            to.add((String) result);
        }
    }

    /** Maps and lists. */
    private static final class Tree extends Entry {
        @Override
        Object argument(JsonReader value) {
            return value.value();
        }

        @Override
        void write(Object result, Bytes to) {
            new JsonWriter(to).value(result);
        }
    }

    /** Elements of gson, which reads the text itself. */
    private static final class Gson extends Entry {
        private final Method parse;
        /** Null when `parse` is static. */
        private final Object parser;

        /** `parseString` came with gson 2.8.6, and the older `parse` is deprecated. */
        Gson(ClassLoader loader) throws ReflectiveOperationException {
            Class<?> owner = loader.loadClass(GSON + "JsonParser");
            Method found;
            try {
                found = owner.getMethod("parseString", String.class);
            } catch (NoSuchMethodException old) {
                found = owner.getMethod("parse", String.class);
            }
            parse = found;
            parser = Modifier.isStatic(found.getModifiers()) ? null : owner.getConstructor().newInstance();
        }

        @Override
        Object argument(JsonReader value) throws ReflectiveOperationException {
            try {
                return parse.invoke(parser, value.valueText());
            } catch (InvocationTargetException thrown) {
                // Not by the action. Valid JSON may still be nested too deeply, or be too much.
                if (thrown.getCause() instanceof Error) throw (Error) thrown.getCause();
                throw new IllegalArgumentException(thrown.getCause());
            }
        }

        @Override
        void write(Object result, Bytes to) {
            to.add(result.toString());
        }
    }
}
