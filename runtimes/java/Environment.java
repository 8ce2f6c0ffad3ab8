package triplane;

import java.lang.reflect.Field;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Locale;
import java.util.Map;

/**
 * What System.getenv() answers. Java cannot set its environment, so this changes the map behind it, as OpenWhisk's
 * runtime does; child processes see it if the action has asked their builder for its environment().
 */
final class Environment {
    private static final String PREFIX = "__OW_";

    /** Null when the map cannot be reached. */
    private final Map<String, String> variables;
    /** The variables of the call before, by their names in its frame: most calls change few of them. */
    private final Map<String, String> last = new HashMap<>();
    private final Map<String, String> fullNames = new HashMap<>();

    private Environment(Map<String, String> variables) {
        this.variables = variables;
    }

    @SuppressWarnings("unchecked")
    static Environment open() {
        try {
            Map<String, String> shown = System.getenv();
            Field behind = shown.getClass().getDeclaredField("m");
            behind.setAccessible(true);
            return new Environment((Map<String, String>) behind.get(shown));
        } catch (ReflectiveOperationException | RuntimeException error) {
            return new Environment(null);
        }
    }

    /** Sets the variables of init, which stay. */
    synchronized void setForInit(Map<String, String> named) {
        for (Map.Entry<String, String> variable : named.entrySet()) set(variable.getKey(), variable.getValue());
    }

    /** Sets the variables of a call, and removes those that only the call before had. */
    synchronized void setForCall(Map<String, String> context) {
        for (Map.Entry<String, String> variable : context.entrySet()) {
            String before = last.put(variable.getKey(), variable.getValue());
            if (!variable.getValue().equals(before)) set(fullName(variable.getKey()), variable.getValue());
        }
        if (last.size() == context.size()) return;
        for (Iterator<String> names = last.keySet().iterator(); names.hasNext();) {
            String name = names.next();
            if (context.containsKey(name)) continue;
            names.remove();
            if (variables != null) variables.remove(fullName(name));
        }
    }

    private String fullName(String name) {
        String known = fullNames.get(name);
        if (known != null) return known;
        String made = PREFIX + name.toUpperCase(Locale.ROOT);
        fullNames.put(name, made);
        return made;
    }

    private void set(String name, String value) {
        if (variables == null) return;
        try {
            variables.put(name, value);
        } catch (IllegalArgumentException unusable) {
            // No environment can hold such a name or value.
        }
    }
}
