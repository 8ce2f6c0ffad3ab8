package triplane;

/** What is wrong with the action or its result, said in our words or OpenWhisk's: needs no stack trace. */
final class ActionException extends Exception {
    private static final long serialVersionUID = 1L;

    /** For the action's log, or null. */
    final String log;

    ActionException(String text, String log) {
        super(text, null, false, false);
        this.log = log;
    }
}
