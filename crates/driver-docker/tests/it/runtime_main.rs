//! A runtime for images of the tests: OpenWhisk's `/init` and `/run`, faithful unless it is told to misbehave. `/init`
//! takes its orders from the code if that is a JSON object, `/run` from the parameters, the start from the arguments. Two
//! arguments make it one of OpenWhisk's published proxies instead.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's program: it may end and wait as it likes"
)]

mod published;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use published::{ActionLoop, Proxy, Skeleton};
use serde_json::{Value, json};

const MARKER: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("exits") => std::process::exit(3),
        Some("deaf") => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        Some("skeleton") => return serve(Skeleton::default()),
        Some("loop") => return serve(ActionLoop::default()),
        Some("late") => std::thread::sleep(Duration::from_millis(400)),
        _ => {}
    }
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
    let mut env = Value::Null;
    for socket in listener.incoming() {
        let mut socket = socket.unwrap();
        let Some((path, body)) = read(&mut socket) else { continue };
        match path.as_str() {
            "/init" => {
                env = body["value"]["env"].clone();
                let code = body["value"]["code"].as_str().unwrap_or_default();
                let orders = serde_json::from_str(code).unwrap_or_else(|_| json!({}));
                let answered = obey(&mut socket, &orders, json!({"ok": true}));
                if answered != 200 {
                    mark();
                }
            }
            // overlaps, for actions that allow it
            "/run" => {
                let env = env.clone();
                std::thread::spawn(move || run(&mut socket, &body, &env));
            }
            _ => answer(&mut socket, 404, "{}"),
        }
    }
}

/// Serves as a published proxy does, one request after the other.
fn serve(mut proxy: impl Proxy) {
    for socket in TcpListener::bind("0.0.0.0:8080").unwrap().incoming() {
        let mut socket = socket.unwrap();
        let Some((path, body)) = read(&mut socket) else { continue };
        let (status, text) = match path.as_str() {
            "/init" => proxy.init(&body["value"]),
            "/run" => proxy.run(&body),
            _ => (404, "{}".to_owned()),
        };
        answer(&mut socket, status, &text);
    }
}

fn read(socket: &mut TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).ok()?))
}

fn run(socket: &mut TcpStream, body: &Value, env: &Value) {
    let value = &body["value"];
    let result = match value["do"].as_str() {
        Some("env") => {
            let process: serde_json::Map<_, _> =
                std::env::vars().map(|(key, value)| (key, json!(value))).collect();
            let mut call = body.clone();
            call.as_object_mut().unwrap().remove("value");
            json!({"init": env, "process": process, "call": call})
        }
        Some("connect") => json!({"connected": connect(value["to"].as_str().unwrap())}),
        Some("open") => {
            json!({"opened": std::fs::File::options().write(true).open(value["path"].as_str().unwrap()).is_ok()})
        }
        Some("allocate") => json!({"touched": allocate(value["mb"].as_u64().unwrap())}),
        Some("large") => {
            json!({"text": "x".repeat(usize::try_from(value["bytes"].as_u64().unwrap()).unwrap())})
        }
        _ => value.clone(),
    };
    obey(socket, value, result);
    if value["markers"].as_bool().unwrap_or(true) {
        // after the answer, as runtimes may
        mark();
    }
}

/// The end of the output of an activation, or of an init that failed.
fn mark() {
    println!("{MARKER}");
    eprintln!("{MARKER}");
}

/// Prints, waits, ends or answers as the orders say; the status of the answer.
fn obey(socket: &mut TcpStream, orders: &Value, result: Value) -> u64 {
    if let Some(text) = orders["print"].as_str() {
        println!("{text}");
    }
    if let Some(text) = orders["print_error"].as_str() {
        eprintln!("{text}");
    }
    if let Some(ms) = orders["sleep_ms"].as_u64() {
        std::thread::sleep(Duration::from_millis(ms));
    }
    if let Some(code) = orders["exit"].as_i64() {
        std::process::exit(i32::try_from(code).unwrap());
    }
    let text = orders["raw"].as_str().map_or_else(|| result.to_string(), str::to_owned);
    let status = orders["status"].as_u64().unwrap_or(200);
    match orders["chunked"].as_bool() {
        Some(true) => {
            let head = format!("HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n");
            write!(socket, "{head}{:x}\r\n{text}\r\n0\r\n\r\n", text.len()).ok();
        }
        _ => answer(socket, status, &text),
    }
    status
}

fn answer(socket: &mut TcpStream, status: u64, text: &str) {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    socket.write_all(head.as_bytes()).ok();
    socket.write_all(text.as_bytes()).ok();
}

fn connect(address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    TcpStream::connect_timeout(&address, Duration::from_millis(1500)).is_ok()
}

fn allocate(mb: u64) -> usize {
    let mut held = Vec::new();
    for _ in 0..mb {
        held.push(vec![1_u8; 1 << 20]);
    }
    held.iter().map(|block| usize::from(block[block.len() / 2])).sum()
}
