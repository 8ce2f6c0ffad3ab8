//! The actions of each language for the cases that all have in common.

/// What an action of a language looks like for each case.
pub(super) struct Language {
    pub(super) kind: &'static str,
    /// The class, where a language has no function alone.
    pub(super) main: Option<&'static str>,
    /// The image, where the kind is `blackbox`.
    pub(super) image: Option<&'static str>,
    /// Answers its arguments.
    pub(super) echo: &'static str,
    /// Answers `[1, "two", {"three": 3}]`.
    pub(super) array: &'static str,
    /// Answers 42, and what the record says of that.
    pub(super) scalar: (&'static str, &'static str),
    /// Fails with "broken", and what the record says.
    pub(super) raises: (&'static str, &'static str),
    /// Cannot be loaded, and how the record begins.
    pub(super) damaged: (&'static str, &'static str),
    /// Ends its process, and what the record says.
    pub(super) exits: (&'static str, &'static str),
    /// Takes ten seconds.
    pub(super) sleeps: &'static str,
    /// Writes `out` and `err` without an end of line.
    pub(super) writes: &'static str,
    /// Answers the environment variables that begin with `__OW_`, and `GREETING`.
    pub(super) environment: &'static str,
    /// Writes its `n`, waits 50 ms, writes it again; for languages whose calls overlap.
    pub(super) overlaps: Option<&'static str>,
    /// Another name than usual for the function, and code that answers `{"chosen": true}` by it.
    pub(super) chosen: Option<(&'static str, &'static str)>,
    /// Answers `{"awaited": true}` after it waited without blocking; for languages that have that.
    pub(super) awaits: Option<&'static str>,
    /// Files that answer `{"part": "whole"}`, which one of them gets from another, and from packages where there are such;
    /// none where the case is left out.
    pub(super) archive: &'static [(&'static str, &'static str)],
}

const EXITED: &str = "The action did not produce a valid response and exited unexpectedly.";
const NO_BINARY: &str = "The action failed to generate or locate a binary. See logs for details.";
pub(super) const NO_DICTIONARY: &str = "The action did not return a dictionary or array.";

pub(super) const NODEJS: Language = Language {
    kind: "nodejs:default",
    main: None,
    image: None,
    echo: "function main(args) { return args }",
    array: "function main() { return [1, 'two', {three: 3}] }",
    scalar: ("function main() { return 42 }", "The action did not return a dictionary."),
    raises: ("function main() { throw new Error('broken') }", "An error has occurred: Error: broken"),
    damaged: ("function main( {", "Initialization has failed due to: "),
    exits: ("function main() { process.exit(3) }", EXITED),
    sleeps: "function main() { return new Promise((done) => setTimeout(done, 10000)) }",
    writes: "function main() { process.stdout.write('out'); process.stderr.write('err'); return {} }",
    environment: "function main() { return Object.fromEntries(Object.entries(process.env).filter(([name]) => \
                  name.startsWith('__OW_') || name === 'GREETING')) }",
    overlaps: Some(
        "function main({n}) { console.log('call', n); return new Promise((done) => setTimeout(() => { \
         console.log('call', n); done({n}) }, 50)) }",
    ),
    chosen: Some(("api.get", "const api = {get: () => ({chosen: true})}")),
    awaits: Some(
        "export default async () => { await new Promise((done) => setTimeout(done, 1)); return {awaited: true} }",
    ),
    archive: &[
        ("package.json", "{\"main\": \"lib/start.js\"}"),
        ("lib/start.js", "exports.main = () => ({part: require('part') + require('./other')})"),
        ("lib/other.js", "module.exports = 'le'"),
        ("node_modules/part/index.js", "module.exports = 'who'"),
    ],
};

pub(super) const DENO: Language = Language {
    kind: "deno:default",
    echo: "type Args = Record<string, unknown>; function main(args: Args): Args { return args }",
    environment: "export function main() { return Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => \
                  name.startsWith('__OW_') || name === 'GREETING')) }",
    archive: &[
        (
            "index.ts",
            "import { other } from './lib/other.ts'; export const main = (): {part: string} => ({part: other})",
        ),
        ("lib/other.ts", "export const other: string = 'whole'"),
    ],
    ..NODEJS
};

pub(super) const BUN: Language = Language {
    kind: "bun:default",
    environment: "export function main() { return Object.fromEntries(Object.entries(Bun.env).filter(([name]) => \
                  name.startsWith('__OW_') || name === 'GREETING')) }",
    ..DENO
};

pub(super) const PYTHON: Language = Language {
    kind: "python:default",
    main: None,
    image: None,
    echo: "def main(args):\n    return args\n",
    array: "def main(args):\n    return [1, 'two', {'three': 3}]\n",
    scalar: ("def main(args):\n    return 42\n", NO_DICTIONARY),
    raises: ("def main(args):\n    raise ValueError('broken')\n", "broken"),
    damaged: ("def main(args:\n", "The action failed to generate or locate a binary. See logs for details."),
    exits: ("import os\ndef main(args):\n    os._exit(3)\n", EXITED),
    sleeps: "import time\ndef main(args):\n    time.sleep(10)\n    return {}\n",
    writes: "import sys\ndef main(args):\n    sys.stdout.write('out')\n    sys.stderr.write('err')\n    return {}\n",
    environment: "import os\ndef main(args):\n    return {name: text for name, text in os.environ.items() if \
                  name.startswith('__OW_') or name == 'GREETING'}\n",
    overlaps: Some(
        "import time\ndef main(args):\n    print('call', args['n'])\n    time.sleep(0.05)\n    print('call', args['n'])\n    \
         return {'n': args['n']}\n",
    ),
    chosen: Some(("other", "def other(args):\n    return {'chosen': True}\n")),
    awaits: Some(
        "import asyncio\nasync def main(args):\n    await asyncio.sleep(0.001)\n    return {'awaited': True}\n",
    ),
    archive: &[
        ("__main__.py", "import part, other\ndef main(args):\n    return {'part': part.TEXT + other.TEXT}\n"),
        ("other.py", "TEXT = 'le'\n"),
        ("virtualenv/bin/activate_this.py", ""),
        ("virtualenv/lib/python3/site-packages/part/__init__.py", "TEXT = 'who'\n"),
    ],
};

pub(super) const RUBY: Language = Language {
    kind: "ruby:default",
    main: None,
    image: None,
    echo: "def main(args)\n  args\nend\n",
    array: "def main(args)\n  [1, 'two', {three: 3}]\nend\n",
    scalar: ("def main(args)\n  42\nend\n", NO_DICTIONARY),
    raises: (
        "def main(args)\n  raise 'broken'\nend\n",
        "Invalid Action: An error occurred running the action",
    ),
    damaged: ("def main(args\n", "Invalid Ruby Code"),
    exits: ("def main(args)\n  exit!(3)\nend\n", EXITED),
    sleeps: "def main(args)\n  sleep 10\n  {}\nend\n",
    writes: "def main(args)\n  $stdout.write('out')\n  $stderr.write('err')\n  {}\nend\n",
    environment: "def main(args)\n  ENV.select { |name, _| name.start_with?('__OW_') || name == 'GREETING' }\nend\n",
    overlaps: None,
    chosen: Some(("other", "def other(args)\n  { chosen: true }\nend\n")),
    awaits: None,
    archive: &[
        ("main.rb", "require_relative 'lib/part'\ndef main(args)\n  { part: Part::TEXT }\nend\n"),
        ("lib/part.rb", "module Part\n  TEXT = 'whole'\nend\n"),
    ],
};

pub(super) const PHP: Language = Language {
    kind: "php:default",
    main: None,
    image: None,
    echo: "<?php function main(array $args): array { return $args; }",
    array: "<?php function main(array $args): array { return [1, 'two', ['three' => 3]]; }",
    scalar: ("<?php function main(array $args) { return 42; }", NO_DICTIONARY),
    raises: (
        "<?php function main(array $args): array { throw new Exception('broken'); }",
        "An error occurred running the action.",
    ),
    damaged: ("<?php function main(", "Cannot start action. Check logs for details."),
    exits: ("<?php function main(array $args): array { exit(3); }", EXITED),
    sleeps: "<?php function main(array $args): array { sleep(10); return []; }",
    writes: "<?php function main(array $args): array { echo 'out'; fwrite(STDERR, 'err'); return []; }",
    environment: "<?php function main(array $args): array { return array_filter(getenv(), fn ($name) => \
                  str_starts_with($name, '__OW_') || $name === 'GREETING', ARRAY_FILTER_USE_KEY); }",
    overlaps: None,
    chosen: Some((
        "Api::get",
        "<?php class Api { static function get(array $args) { return ['chosen' => true]; } }",
    )),
    awaits: None,
    archive: &[
        ("index.php", "<?php function main(array $args): array { return ['part' => Part::TEXT]; }"),
        (
            "vendor/autoload.php",
            "<?php spl_autoload_register(fn ($name) => require __DIR__ . \"/$name.php\");",
        ),
        ("vendor/Part.php", "<?php class Part { const TEXT = 'whole'; }"),
    ],
};

pub(super) const JAVA: Language = Language {
    kind: "java:default",
    main: Some("A"),
    image: None,
    echo: "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
           return args; } }",
    array: "import java.util.*; public class A { public static List<Object> main(Map<String, Object> args) { \
            return List.of(1, \"two\", Map.of(\"three\", 3)); } }",
    scalar: (
        "public class A { public static String main(String args) { return \"42\"; } }",
        "The action did not produce a valid JSON or JSON Array response: 42",
    ),
    raises: (
        "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
         throw new IllegalStateException(\"broken\"); } }",
        "An error has occurred while invoking the action (see logs for details): java.lang.IllegalStateException: broken",
    ),
    damaged: ("public class A {", "The action failed to generate or locate a binary. See logs for details."),
    exits: (
        "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
            System.exit(3); return args; } }",
        EXITED,
    ),
    sleeps: "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) \
             throws Exception { Thread.sleep(10000); return args; } }",
    writes: "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
             System.out.print(\"out\"); System.err.print(\"err\"); return args; } }",
    environment: "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
                  Map<String, Object> e = new HashMap<>(System.getenv()); \
                  e.keySet().removeIf(n -> !n.startsWith(\"__OW_\") && !n.equals(\"GREETING\")); return e; } }",
    overlaps: Some(
        "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) throws \
         Exception { System.out.println(\"call \" + args.get(\"n\")); Thread.sleep(50); \
         System.out.println(\"call \" + args.get(\"n\")); return args; } }",
    ),
    chosen: Some((
        "api.B#get",
        "package api; import java.util.*; public class B { public static Map<String, Object> get(Map<String, Object> args) { \
         return Map.of(\"chosen\", true); } }",
    )),
    awaits: None,
    archive: &[
        (
            "A.java",
            "import java.util.*; public class A { public static Map<String, Object> main(Map<String, Object> args) { \
             return Map.of(\"part\", lib.Part.TEXT); } }",
        ),
        ("lib/Part.java", "package lib; public class Part { public static final String TEXT = \"whole\"; }"),
    ],
};

/// Scripts that are started for each call.
pub(super) const NATIVE: Language = Language {
    kind: "native:default",
    main: None,
    image: None,
    echo: "#!/bin/sh\ncat\n",
    array: "#!/bin/sh\necho '[1, \"two\", {\"three\": 3}]'\n",
    scalar: ("#!/bin/sh\necho 42\n", NO_DICTIONARY),
    raises: ("#!/bin/sh\necho '{\"error\": \"broken\"}'\n", "broken"),
    damaged: ("not a program", NO_BINARY),
    exits: ("#!/bin/sh\nexit 3\n", NO_DICTIONARY),
    sleeps: "#!/bin/sh\nsleep 10\necho '{}'\n",
    writes: "#!/bin/sh\necho out\nprintf err >&2\nprintf '{}'\n",
    environment: "#!/usr/bin/python3\nimport json, os\nprint(json.dumps({name: text for name, text in os.environ.items() if \
                  name.startswith('__OW_') or name == 'GREETING'}))\n",
    overlaps: None,
    chosen: None,
    awaits: None,
    archive: &[
        ("exec", "#!/bin/sh\ncd \"$(dirname \"$0\")\" && printf '{\"part\":\"%s\"}' \"$(cat lib/part)\"\n"),
        ("lib/part", "whole"),
    ],
};

/// What `wsk action create --native` sends.
pub(super) const SKELETON: Language =
    Language { kind: "blackbox", image: Some("openwhisk/dockerskeleton"), ..NATIVE };

/// A program that reads calls and writes results, with `body` to make `result` of `args`.
macro_rules! action_loop {
    ($body:literal) => {
        concat!(
            "#!/usr/bin/python3\nimport json, os, sys, time\nout = os.fdopen(3, 'wb')\n",
            "out.write(b'{\"ok\":true}\\n')\nout.flush()\nfor line in sys.stdin:\n    call = json.loads(line)\n",
            "    args = call['value']\n    ",
            $body,
            "\n    out.write(json.dumps(result).encode() + b'\\n')\n    out.flush()\n"
        )
    };
}

/// Programs that are started once.
pub(super) const GO: Language = Language {
    kind: "go:default",
    main: None,
    image: None,
    echo: action_loop!("result = args"),
    array: action_loop!("result = [1, 'two', {'three': 3}]"),
    scalar: (action_loop!("result = 42"), NO_DICTIONARY),
    raises: (action_loop!("result = {'error': 'broken'}"), "broken"),
    damaged: ("package main", NO_BINARY),
    exits: (action_loop!("sys.exit(3)"), "command exited"),
    sleeps: action_loop!("time.sleep(10); result = {}"),
    writes: action_loop!(
        "print('out', end='', flush=True); print('err', end='', file=sys.stderr, flush=True); result = {}"
    ),
    environment: action_loop!(
        "call.pop('value'); result = {**os.environ, **{'__OW_' + name.upper(): text for name, text in call.items()}}; \
         result = {name: result[name] for name in result if name.startswith('__OW_') or name == 'GREETING'}; \
         result.pop('__OW_WAIT_FOR_ACK', None)"
    ),
    overlaps: None,
    chosen: None,
    awaits: None,
    archive: &[
        (
            "exec",
            action_loop!(
                "result = {'part': open(os.path.dirname(os.path.abspath(__file__)) + '/lib/part').read()}"
            ),
        ),
        ("lib/part", "whole"),
    ],
};
