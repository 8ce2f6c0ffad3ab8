package triplane;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads JSON (RFC 8259) from UTF-8 in one pass: a value becomes a tree, or is passed over. Objects are maps in the
 * order of the text, arrays are lists, whole numbers are Long (BigInteger where they do not fit), others Double.
 */
final class JsonReader {
    /** Deeper than gson reads; each level takes some of a thread's stack. */
    static final int NESTING_MAX = 1000;
    /** What `peek` says when nothing is left. */
    static final int END = -1;
    /** So many digits always fit into a long. */
    private static final int LONG_DIGITS = 18;
    /** Reading a whole number exactly takes time with the square of its length, and callers send what they like. */
    private static final int EXACT_DIGITS_MAX = 1000;
    private static final String ESCAPES = "\"\\/bfnrt";
    private static final String ESCAPED = "\"\\/\b\f\n\r\t";

    private final byte[] bytes;
    private int at;
    private int nesting;

    JsonReader(byte[] bytes) {
        this.bytes = bytes;
    }

    /** The text is no JSON. */
    static final class MalformedException extends RuntimeException {
        private static final long serialVersionUID = 1L;

        MalformedException() {
            super("no JSON", null, false, false);
        }
    }

    /** The first byte of what comes next, or `END`. */
    int peek() {
        while (at < bytes.length) {
            byte next = bytes[at];
            if (next != ' ' && next != '\n' && next != '\r' && next != '\t') return next & 0xff;
            at += 1;
        }
        return END;
    }

    /** Nothing must be left. */
    void end() {
        if (peek() != END) throw new MalformedException();
    }

    /** Enters an object or array; says whether it has elements, and leaves it if not. */
    boolean enter(char open, char close) {
        expect(open);
        if (peek() == close) {
            at += 1;
            return false;
        }
        nesting += 1;
        if (nesting > NESTING_MAX) {
            throw new IllegalArgumentException("the argument is nested deeper than " + NESTING_MAX + " levels");
        }
        return true;
    }

    /** After an element: whether another one comes. Leaves the object or array if not. */
    boolean goesOn(char close) {
        int next = peek();
        if (next != ',' && next != close) throw new MalformedException();
        at += 1;
        if (next == ',') return true;
        nesting -= 1;
        return false;
    }

    /** The name of a member; its value comes next. */
    String name() {
        String name = string();
        expect(':');
        return name;
    }

    Object value() {
        switch (peek()) {
            case '{':
                return object();
            case '[':
                return array();
            case '"':
                return string();
            case 't':
                literal("true");
                return Boolean.TRUE;
            case 'f':
                literal("false");
                return Boolean.FALSE;
            case 'n':
                literal("null");
                return null;
            default:
                return number();
        }
    }

    Map<String, Object> object() {
        Map<String, Object> members = new LinkedHashMap<>();
        for (boolean more = enter('{', '}'); more; more = goesOn('}')) members.put(name(), value());
        return members;
    }

    private List<Object> array() {
        List<Object> elements = new ArrayList<>();
        for (boolean more = enter('[', ']'); more; more = goesOn(']')) elements.add(value());
        return elements;
    }

    /** The text of the next value as it stands there. */
    String valueText() {
        peek();
        int start = at;
        skip();
        return new String(bytes, start, at - start, StandardCharsets.UTF_8);
    }

    /** Passes over a value. Of an object or array it finds the end only: who reads its text sees what is inside. */
    void skip() {
        int first = peek();
        if (first != '{' && first != '[') {
            value();
            return;
        }
        int open = 0;
        boolean quoted = false;
        for (int i = at; i < bytes.length; i += 1) {
            byte next = bytes[i];
            if (next == '"') quoted = !quoted;
            else if (quoted) i += next == '\\' ? 1 : 0;
            else if (next == '{' || next == '[') open += 1;
            else if (next == '}' || next == ']') open -= 1;
            if (open == 0) {
                at = i + 1;
                return;
            }
        }
        throw new MalformedException();
    }

    private void expect(char wanted) {
        if (peek() != wanted) throw new MalformedException();
        at += 1;
    }

    private void literal(String word) {
        for (int i = 0; i < word.length(); i += 1) {
            if (next() != word.charAt(i)) throw new MalformedException();
        }
    }

    private int next() {
        if (at == bytes.length) throw new MalformedException();
        return bytes[at++] & 0xff;
    }

    // --- strings -------------------------------------------------------------------------------------------------

    String string() {
        expect('"');
        int start = at;
        boolean ascii = skipPlain();
        if (bytes[at] == '"') {
            String text = text(start, ascii);
            at += 1;
            return text;
        }
        StringBuilder built = new StringBuilder();
        built.append(text(start, ascii));
        while (bytes[at] == '\\') {
            at += 1;
            built.append(escape());
            start = at;
            ascii = skipPlain();
            if (at > start) built.append(text(start, ascii));
        }
        at += 1;
        return built.toString();
    }

    /** Goes to the next quote or backslash; says whether all before it was ASCII. */
    private boolean skipPlain() {
        byte[] from = bytes;
        int seen = 0;
        for (int i = at; i < from.length; i += 1) {
            byte next = from[i];
            if (next == '"' || next == '\\') {
                at = i;
                return seen >= 0;
            }
            if (next >= 0 && next < ' ') throw new MalformedException();
            seen |= next;
        }
        throw new MalformedException();
    }

    private String text(int start, boolean ascii) {
        // For ASCII both are the same, and Latin 1 is copied without a look.
        return new String(bytes, start, at - start, ascii ? StandardCharsets.ISO_8859_1 : StandardCharsets.UTF_8);
    }

    /** What stands after a backslash. */
    private char escape() {
        int letter = next();
        if (letter == 'u') return hex();
        int which = ESCAPES.indexOf(letter);
        if (which < 0) throw new MalformedException();
        return ESCAPED.charAt(which);
    }

    private char hex() {
        int value = 0;
        for (int i = 0; i < 4; i += 1) {
            int letter = next();
            int digit = letter < 0x80 ? Character.digit(letter, 16) : -1;
            if (digit < 0) throw new MalformedException();
            value = value << 4 | digit;
        }
        return (char) value;
    }

    // --- numbers -------------------------------------------------------------------------------------------------

    private Number number() {
        int start = at;
        boolean whole = skipNumber();
        if (!whole || at - start > EXACT_DIGITS_MAX) return Double.valueOf(text(start, true));
        if (at - start <= LONG_DIGITS) return smallNumber(start);
        BigInteger exact = new BigInteger(text(start, true));
        if (exact.bitLength() < Long.SIZE) return exact.longValue();
        return exact;
    }

    private Long smallNumber(int start) {
        boolean negative = bytes[start] == '-';
        long value = 0;
        for (int i = negative ? start + 1 : start; i < at; i += 1) value = value * 10 + (bytes[i] - '0');
        return negative ? -value : value;
    }

    /** Passes over a number; says whether it is a whole one. */
    private boolean skipNumber() {
        take('-');
        if (!take('0')) skipDigits();
        boolean whole = true;
        if (take('.')) {
            skipDigits();
            whole = false;
        }
        if (take('e') || take('E')) {
            if (!take('+')) take('-');
            skipDigits();
            whole = false;
        }
        return whole;
    }

    private boolean take(char wanted) {
        if (at == bytes.length || bytes[at] != wanted) return false;
        at += 1;
        return true;
    }

    private void skipDigits() {
        int start = at;
        while (at < bytes.length && bytes[at] >= '0' && bytes[at] <= '9') at += 1;
        if (at == start) throw new MalformedException();
    }
}
