package triplane;

import java.util.HashMap;
import java.util.Map;

/** What an INIT asks for. */
final class Init {
    final String main;
    final String path;
    final boolean archive;
    final int concurrency;
    final Map<String, String> environment = new HashMap<>();

    /** Reads the payload of a frame. */
    Init(JsonReader body) {
        Map<String, Object> members = body.object();
        body.end();
        main = text(members.get("main"));
        path = text(members.get("path"));
        archive = Boolean.TRUE.equals(members.get("archive"));
        Object calls = members.get("concurrency");
        concurrency = calls instanceof Long ? Math.toIntExact((long) calls) : 1;
        if (members.get("env") instanceof Map) addVariables((Map<?, ?>) members.get("env"));
    }

    private static String text(Object value) {
        return value instanceof String ? (String) value : "";
    }

    private void addVariables(Map<?, ?> variables) {
        for (Map.Entry<?, ?> variable : variables.entrySet()) {
            if (!(variable.getValue() instanceof String)) continue;
            environment.put((String) variable.getKey(), (String) variable.getValue());
        }
    }
}
