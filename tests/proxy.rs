//! The simulated long way, since benchmarks and tests rest on it: it delays, and does nothing else to the bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::archives;
use crate::support::program::Setup;
use crate::support::proxy::{Direction, Fault, Harm, Proxy};
use crate::support::sshd::{Options, Sshd};

const ROUND_TRIP: Duration = Duration::from_millis(40);

/// The port of a server that hands its only connection to `serve`.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || serve(listener.accept().expect("a connection").0));
    port
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).expect("the proxy");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("a deadline");
    stream
}

/// Bytes that tell where they belong.
fn numbered(mebibytes: u32) -> Vec<u8> {
    (0..mebibytes << 18).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn an_answer_takes_a_round_trip() {
    let port = server(|mut stream| {
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read == 1) {
            stream.write_all(&byte).expect("an answer");
        }
    });
    let proxy = Proxy::to(port, ROUND_TRIP);

    let began = Instant::now();
    let mut stream = connect(&proxy);
    for sent in 0..3 {
        stream.write_all(&[sent]).expect("a question");
        let mut answer = [0];
        stream.read_exact(&mut answer).expect("its answer");
        assert_eq!(answer, [sent]);
    }

    // One for the connection itself.
    assert!(began.elapsed() >= 4 * ROUND_TRIP, "{:?}", began.elapsed());
}

#[test]
fn bytes_arrive_as_they_were_sent_both_ways_and_after_a_half_close() {
    let port = server(|mut stream| {
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("all of it");
        received.reverse();
        stream.write_all(&received).expect("the answer");
    });
    let proxy = Proxy::to(port, ROUND_TRIP);
    let sent = numbered(8);

    let mut stream = connect(&proxy);
    stream.write_all(&sent).expect("the proxy takes it");
    stream.shutdown(Shutdown::Write).expect("a half close");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer");

    answer.reverse();
    assert!(answer == sent, "{} bytes came back", answer.len());
}

/// Everything that comes through a proxy with this fault of the 100,000 bytes that a server sends.
fn harmed(at: u64, harm: Harm) -> Vec<u8> {
    let port = server(|mut stream| {
        // A cut connection ends it.
        let _ = stream.write_all(&numbered(1)[..100_000]);
    });
    let proxy = Proxy::to(port, Duration::ZERO);
    let direction = Direction::ToClient;
    proxy.arm(Fault {
        direction,
        at,
        harm,
    });
    let mut stream = connect(&proxy);
    let mut received = Vec::new();
    // A cut may be an error as well as an end.
    let _ = stream.read_to_end(&mut received);
    assert!(proxy.disarm().1, "it struck");
    received
}

#[test]
fn it_cuts_behind_the_byte_that_was_asked_for() {
    for at in [0, 1, 40_001, 99_999] {
        let received = harmed(at, Harm::Cut);
        let whole = numbered(1);
        assert!(received[..] == whole[..received.len()]);
        assert_eq!(received.len() as u64, at);
    }
}

#[test]
fn it_turns_over_the_bits_of_that_byte_alone() {
    for at in [0, 40_001, 99_999] {
        let mut received = harmed(at, Harm::Flip(0x41));
        received[usize::try_from(at).expect("an index")] ^= 0x41;
        assert!(received[..] == numbered(1)[..100_000], "{at}");
    }
}

#[test]
fn what_is_throttled_is_whole() {
    let received = harmed(0, Harm::Throttle(200_000));
    assert!(received[..] == numbered(1)[..100_000]);
}

#[test]
fn a_direction_that_stalls_leaves_the_other_one_open() {
    let (told, hears) = std::sync::mpsc::channel();
    let port = server(move |mut stream| {
        stream.write_all(&[7; 1000]).expect("the proxy takes it");
        let mut asked = [0; 3];
        stream.read_exact(&mut asked).expect("the other direction");
        told.send(asked).expect("the test waits");
        // Ends with the connection.
        let _ = stream.read(&mut [0]);
    });
    let proxy = Proxy::to(port, Duration::ZERO);
    let (direction, harm) = (Direction::ToClient, Harm::Stall);
    proxy.arm(Fault {
        direction,
        at: 10,
        harm,
    });
    let mut stream = connect(&proxy);
    stream.read_exact(&mut [0; 10]).expect("what came before");
    stream.write_all(&[1, 2, 3]).expect("it is open");
    let heard = hears.recv_timeout(Duration::from_secs(30));
    assert_eq!(heard.expect("it arrives"), [1, 2, 3]);
    drop(proxy);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_client_that_goes_away_is_gone_for_the_server_too() {
    let (told, hears) = std::sync::mpsc::channel();
    let port = server(move |mut stream| {
        let block = vec![0; 1 << 20];
        while stream.write_all(&block).is_ok() {}
        told.send(()).expect("the test waits");
    });
    let proxy = Proxy::to(port, ROUND_TRIP);

    let mut stream = connect(&proxy);
    stream.read_exact(&mut [0]).expect("it flows");
    drop(stream);

    let ended = hears.recv_timeout(Duration::from_secs(30));
    ended.expect("the server's connection has ended");
}

#[test]
fn dropped_it_cuts_its_connections_and_closes_its_port() {
    let port = server(|mut stream| {
        // Ends with the connection.
        let _ = stream.read(&mut [0]);
    });
    let proxy = Proxy::to(port, ROUND_TRIP);
    let mut stream = connect(&proxy);
    stream.write_all(&[1, 2]).expect("the proxy takes it");
    let own = proxy.port;

    drop(proxy);

    let read = stream.read(&mut [0]);
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, own)).is_ok() {
        assert!(Instant::now() < until, "the port is still open");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_store_behind_it_is_the_store() {
    let sshd = Sshd::with(&Options {
        direct: true,
        ..Options::default()
    });
    sshd.put("erp.zip", &archives::zip().entry("a", b"b").build());
    let proxy = Proxy::to(sshd.port, ROUND_TRIP);
    let setup = Setup::new()
        .part("[network]\nattempts = 1\n")
        .part(&proxy.toml(&sshd, "office", &sshd.dir))
        .part(
            "[databases.erp.postgres]\nhost = \"127.0.0.1\"\nuser = \"postgres\"\nname = \"erp\"\n",
        )
        .restore("")
        .write();

    let ran = setup.run(&["list"]).expect(0);

    assert!(ran.stdout.contains("erp.zip"), "{ran}");
    drop(proxy);
    setup.run(&["list"]).expect(5);
}
