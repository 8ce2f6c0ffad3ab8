package triplane;

import java.lang.reflect.Array;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** Writes JSON: maps as objects, collections and arrays as arrays, texts, numbers, booleans and null. */
final class JsonWriter {
    private static final char[] HEX = "0123456789abcdef".toCharArray();

    private final Bytes to;
    private int nesting;

    JsonWriter(Bytes to) {
        this.to = to;
    }

    /** An object with `error`. */
    static void writeError(String text, Bytes to) {
        to.add("{\"error\":");
        new JsonWriter(to).string(text);
        to.add('}');
    }

    /** Throws IllegalArgumentException for what JSON does not know. */
    void value(Object value) {
        if (value == null) to.add("null");
        else if (value instanceof String) string((String) value);
        else if (value instanceof Number) number((Number) value);
        else if (value instanceof Boolean) to.add(value.toString());
        else if (value instanceof Map) object((Map<?, ?>) value);
        else if (value instanceof Iterable) array((Iterable<?>) value);
        else if (value instanceof CharSequence || value instanceof Character) string(value.toString());
        else if (value instanceof Enum) string(((Enum<?>) value).name());
        else if (value.getClass().isArray()) plainArray(value);
        else throw unfit("a " + value.getClass().getName());
    }

    private void object(Map<?, ?> members) {
        nest();
        to.add('{');
        boolean first = true;
        for (Map.Entry<?, ?> member : members.entrySet()) {
            if (!first) to.add(',');
            first = false;
            string(String.valueOf(member.getKey()));
            to.add(':');
            value(member.getValue());
        }
        to.add('}');
        nesting -= 1;
    }

    private void array(Iterable<?> elements) {
        nest();
        to.add('[');
        boolean first = true;
        for (Object element : elements) {
            if (!first) to.add(',');
            first = false;
            value(element);
        }
        to.add(']');
        nesting -= 1;
    }

    private void plainArray(Object elements) {
        nest();
        to.add('[');
        int length = Array.getLength(elements);
        for (int i = 0; i < length; i += 1) {
            if (i > 0) to.add(',');
            value(Array.get(elements, i));
        }
        to.add(']');
        nesting -= 1;
    }

    /** A result that has itself in it would have no end. */
    private void nest() {
        nesting += 1;
        if (nesting <= JsonReader.NESTING_MAX) return;
        throw new IllegalArgumentException("the result is nested deeper than " + JsonReader.NESTING_MAX + " levels");
    }

    private static IllegalArgumentException unfit(String what) {
        return new IllegalArgumentException("the result has " + what + ", which JSON has not");
    }

    private void number(Number number) {
        if (isExact(number)) {
            to.add(number.toString());
            return;
        }
        double value = number.doubleValue();
        if (!Double.isFinite(value)) throw unfit("the number " + value);
        // As a double, 0.1f would have digits that nobody wrote.
        to.add(number instanceof Float ? number.toString() : Double.toString(value));
    }

    private static boolean isExact(Number number) {
        return number instanceof Integer || number instanceof Long || number instanceof BigInteger
            || number instanceof BigDecimal || number instanceof Short || number instanceof Byte
            || number instanceof AtomicInteger || number instanceof AtomicLong;
    }

    private void string(String text) {
        to.add('"');
        int plain = 0;
        for (int i = 0; i < text.length(); i += 1) {
            char letter = text.charAt(i);
            if (letter >= ' ' && letter != '"' && letter != '\\' && !isLoneSurrogate(text, i)) {
                if (Character.isHighSurrogate(letter)) i += 1;
                continue;
            }
            if (i > plain) to.add(text.substring(plain, i));
            escape(letter);
            plain = i + 1;
        }
        to.add(plain == 0 ? text : text.substring(plain));
        to.add('"');
    }

    /** UTF-8 has no halves of pairs; an escape keeps them, as JavaScript does. */
    private static boolean isLoneSurrogate(String text, int at) {
        char letter = text.charAt(at);
        if (!Character.isSurrogate(letter)) return false;
        boolean paired = Character.isHighSurrogate(letter) && at + 1 < text.length()
            && Character.isLowSurrogate(text.charAt(at + 1));
        return !paired;
    }

    private void escape(char letter) {
        to.add('\\');
        switch (letter) {
            case '"':
            case '\\':
                to.add(letter);
                break;
            case '\n':
                to.add('n');
                break;
            case '\r':
                to.add('r');
                break;
            case '\t':
                to.add('t');
                break;
            default:
                to.add('u');
                for (int shift = 12; shift >= 0; shift -= 4) to.add(HEX[letter >> shift & 0xf]);
        }
    }
}
