package triplane;

import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The launcher of the Java runtime: loads an action and runs it, as the framed protocol on file descriptor 3 asks.
 *
 * <p>Frames are specified in crates/wire/src/framed.rs; the behaviour towards actions is that of OpenWhisk's Java
 * runtimes (openwhisk-api.md 11.2, 11.3). See README.md for what follows from it and for where this launcher decides
 * itself.
 *
 * <p>On the way to a first result there is no lambda: the first one of a process costs it 10 ms and more.
 */
public final class Launcher implements Runnable {
    private static final String REHEARSE = "rehearse";
    private static final String NO_MEMORY = "The action exhausted its memory and was aborted.";

    private final Socket socket;
    private final Environment environment = Environment.open();
    private final PrintStream stdout = System.out;
    /** Where errors go: an action that replaces System.err shall still find them in its log. */
    private PrintStream stderr = System.err;
    private volatile Action action;

    /** Held by the thread that reads. */
    private final ReentrantLock reading = new ReentrantLock();
    private CallLogs logs;
    private int concurrency = 1;
    private int threads = 1;
    /** Threads that read, or wait to. */
    private int readers = 1;

    private Launcher(Socket socket) {
        this.socket = socket;
    }

    /**
     * Starts the launcher.
     *
     * @param arguments nothing; or `rehearse`, to load and run what calls need and end, for an archive of classes
     */
    public static void main(String[] arguments) throws Throwable {
        Thread.setDefaultUncaughtExceptionHandler(new Uncaught());
        if (arguments.length == 1 && arguments[0].equals(REHEARSE)) {
            Rehearsal.whole();
            return;
        }
        Socket socket = Socket.open();
        Bytes hello = new Bytes().startFrame(Frame.HELLO, Frame.NO_STREAM);
        hello.add("{\"protocol\":" + Frame.PROTOCOL + "}");
        socket.send(hello);
        Launcher launcher = new Launcher(socket);
        Rehearsal.brief(socket);
        launcher.run();
    }

    /** As Java itself does, except that without memory there is no going on. */
    private static final class Uncaught implements Thread.UncaughtExceptionHandler {
        @Override
        public void uncaughtException(Thread thread, Throwable error) {
            try {
                System.err.print("Exception in thread \"" + thread.getName() + "\" ");
                error.printStackTrace(System.err);
            } finally {
                if (error instanceof OutOfMemoryError) Exit.with(Exit.NO_MEMORY);
            }
        }
    }

    // --- the threads ---------------------------------------------------------------------------------------------

    /** Reads frames and does what they ask, for ever: who has read a call runs it, while another thread reads on. */
    @Override
    public void run() {
        Bytes answer = new Bytes();
        try {
            for (;;) {
                handle(next(), answer);
                // What a call leaves behind must not stop the next one.
                Thread.interrupted();
            }
        } catch (Throwable error) {
            int code = error instanceof OutOfMemoryError ? Exit.NO_MEMORY : Exit.LOST;
            Exit.with(code, "outside of a call: " + error);
        }
    }

    private Frame next() {
        reading.lock();
        try {
            return socket.read();
        } finally {
            reading.unlock();
        }
    }

    /** Before a call: sees to it that someone reads while it runs. */
    private synchronized void leaveReading() {
        readers -= 1;
        if (readers > 0 || threads == concurrency) return;
        try {
            new Thread(this, "call-" + threads).start();
            threads += 1;
            readers += 1;
        } catch (OutOfMemoryError tooMany) {
            // The limit of processes: then fewer calls overlap, and the next one waits in the socket.
        }
    }

    private synchronized void returnToReading() {
        readers += 1;
    }

    private void handle(Frame frame, Bytes answer) {
        switch (frame.kind) {
            case Frame.RUN:
                leaveReading();
                onRun(frame, answer);
                returnToReading();
                break;
            case Frame.INIT:
                onInit(frame, answer);
                break;
            case Frame.CANCEL:
            case Frame.CHUNK:
                break;
            default:
                throw Exit.with(Exit.BAD_FRAME, "frame type " + frame.kind + " is unknown");
        }
    }

    // --- init ----------------------------------------------------------------------------------------------------

    private void onInit(Frame frame, Bytes answer) {
        answer.startFrame(Frame.INIT_DONE, Frame.NO_STREAM).add(Frame.STATUS_OK);
        Throwable failure = null;
        try {
            load(new Init(new JsonReader(frame.takePayload())));
            answer.add("{}");
        } catch (Throwable error) {
            boolean wrapped = error instanceof ExceptionInInitializerError && error.getCause() != null;
            failure = wrapped ? error.getCause() : error;
            fail(failure, Action.FAILED, answer);
        }
        flushOutput();
        socket.send(answer);
        if (failure instanceof OutOfMemoryError) Exit.with(Exit.NO_MEMORY);
        if (failure == null) socket.watch();
    }

    private void load(Init init) throws Exception {
        if (action != null) throw new ActionException("Cannot initialize the action more than once.", null);
        environment.setForInit(init.environment);
        if (init.concurrency > 1 && logs == null) {
            logs = CallLogs.install(socket);
            stderr = System.err;
        }
        action = Action.load(init, environment);
        concurrency = Math.max(init.concurrency, 1);
    }

    // --- calls ---------------------------------------------------------------------------------------------------

    private void onRun(Frame frame, Bytes answer) {
        answer.startFrame(Frame.RESULT, frame.stream).add(Frame.STATUS_OK);
        CallLogs.Call call = concurrency > 1 ? logs.begin(frame.stream) : null;
        Throwable failure = null;
        try {
            if (action == null) throw new ActionException("Cannot invoke an uninitialized action.", null);
            action.run(frame, answer);
        } catch (InvocationTargetException thrown) {
            failure = thrown.getCause();
            fail(failure, Action.CALL_FAILED, answer);
        } catch (Throwable error) {
            failure = error;
            fail(failure, Action.FAILED, answer);
        }
        if (call == null) flushOutput();
        else call.end();
        socket.send(answer);
        if (failure instanceof OutOfMemoryError) Exit.with(Exit.NO_MEMORY);
    }

    /** Makes the answer that of a failure, and puts the failure into the log. */
    private void fail(Throwable failure, String prefix, Bytes answer) {
        if (failure instanceof JsonReader.MalformedException) {
            throw Exit.with(Exit.BAD_FRAME, "a frame is not a JSON object");
        }
        report(failure);
        answer.truncate(Frame.HEADER_BYTES);
        answer.add(Frame.STATUS_FAILED);
        JsonWriter.writeError(textOf(failure, prefix), answer);
    }

    private static String textOf(Throwable failure, String prefix) {
        if (failure instanceof ActionException) return failure.getMessage();
        if (failure instanceof OutOfMemoryError) return NO_MEMORY;
        try {
            return prefix + failure;
        } catch (Throwable broken) {
            return prefix + failure.getClass().getName();
        }
    }

    private void report(Throwable failure) {
        try {
            if (!(failure instanceof ActionException)) failure.printStackTrace(stderr);
            else if (((ActionException) failure).log != null) stderr.println(((ActionException) failure).log);
        } catch (Throwable broken) {
            // It cannot be shown: the answer tells what happened.
        }
    }

    /** Puts what was written into the pipes, also through streams of the action's own. */
    private void flushOutput() {
        flush(System.out);
        flush(System.err);
        if (System.out != stdout) flush(stdout);
        if (System.err != stderr) flush(stderr);
    }

    private static void flush(PrintStream stream) {
        try {
            stream.flush();
        } catch (Throwable broken) {
            // The action put it there, or nothing.
        }
    }
}
