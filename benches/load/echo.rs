//! A JSON-RPC agent that answers with the id that it was asked under, as nginx cannot: bare HTTP/1.1, a thread a
//! connection, on the core of the load.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::Outcome;

/// Starts the agent and says on which port. It ends with the bench.
pub fn start(result: &str) -> Outcome<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let result: Arc<str> = result.into();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let result = Arc::clone(&result);
            thread::spawn(move || drop(serve(&stream, &result)));
        }
    });
    Ok(port)
}

fn serve(stream: &TcpStream, result: &str) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        let text = std::str::from_utf8(&body)?;
        let id =
            text.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()).ok_or("a request without an id")?;
        let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}");
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", reply.len());
        (&mut &*stream).write_all((head + &reply).as_bytes())?;
    }
}
