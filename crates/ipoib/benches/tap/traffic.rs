//! The two ends of every measurement, each a process in its host. An end prints one line when it is ready, if it
//! serves, and one with what it saw.

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fd::OwnedFd,
    io::IoSlice,
    net::{
        AddressFamily, MMsgHdr, RecvFlags, SendAncillaryBuffer, SendFlags, SocketType, ipproto, recv,
        sendmmsg, sockopt,
    },
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};

use super::sys;

/// Traffic before anything is counted.
const WARM: Duration = Duration::from_millis(200);
/// Octets of a small datagram, of a request and of its response.
const SMALL: usize = 64;
/// Octets that a bulk stream hands to the kernel at once.
const LARGE: usize = 128 * 1024;
/// A transaction that takes longer is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// Kinds of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// As much TCP as possible.
    Stream,
    /// The same, both ways at once.
    Both,
    /// As many small UDP datagrams as possible.
    Flood,
    /// TCP, one request and its response after the other.
    TcpRr,
    /// The same over UDP.
    UdpRr,
    /// A connection, a request, a response, the end; again.
    Connect,
    /// An echo request every two milliseconds.
    Ping,
}

/// One end of some traffic.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct End {
    /// What to do.
    #[arg(value_enum)]
    pub(crate) kind: Kind,
    /// Where the other end serves; without it this one does.
    #[arg(long)]
    pub(crate) to: Option<Ipv4Addr>,
    /// Where it serves.
    #[arg(long, default_value_t = 7001)]
    pub(crate) port: u16,
    /// Streams at once.
    #[arg(long, default_value_t = 1)]
    pub(crate) streams: usize,
    /// How long to count.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// How TCP finds its rate.
    #[arg(long)]
    pub(crate) congestion: String,
}

/// What an end saw.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Octets, datagrams or transactions ...
    pub(crate) count: u64,
    /// ... in this time.
    pub(crate) seconds: f64,
    /// Octets over all its life.
    pub(crate) total: u64,
    /// Processor seconds of this end over all its life.
    pub(crate) cpu: f64,
    /// Median of the transactions' times.
    pub(crate) median_us: f64,
}

/// Is one end, until it is over.
pub(crate) fn run(end: &End) -> io::Result<()> {
    let seen = match (end.kind, end.to) {
        (Kind::Stream | Kind::Both, Some(to)) => bulk(end, &connections(to, end)?, end.kind == Kind::Both)?,
        (Kind::Stream | Kind::Both, None) => {
            let listener = listen(end)?;
            let accept = |_| Ok(listener.accept()?.0);
            bulk(end, &(0..end.streams).map(accept).collect::<io::Result<Vec<_>>>()?, true)?
        }
        (Kind::Flood, Some(to)) => flood(&datagrams(to, end)?, end)?,
        (Kind::Flood, None) => sink(&serve(end)?, end)?,
        (Kind::TcpRr, Some(to)) => {
            let mut stream = connect(to, end)?;
            stream.set_nodelay(true)?;
            transactions(end, || exchange(&mut stream))?
        }
        (Kind::TcpRr, None) => {
            let mut stream = listen(end)?.accept()?.0;
            stream.set_nodelay(true)?;
            let mut request = [0; SMALL];
            while stream.read_exact(&mut request).and_then(|()| stream.write_all(&request)).is_ok() {}
            return Ok(());
        }
        (Kind::UdpRr, Some(to)) => {
            let socket = datagrams(to, end)?;
            transactions(end, || {
                socket.send(&[0; SMALL])?;
                socket.recv(&mut [0; SMALL]).map(drop)
            })?
        }
        (Kind::UdpRr, None) => {
            let (socket, mut request) = (serve(end)?, [0; SMALL]);
            loop {
                let (len, from) = socket.recv_from(&mut request)?;
                let _ = socket.send_to(&request[..len], from);
            }
        }
        (Kind::Connect, Some(to)) => transactions(end, || connect_once(to, end))?,
        (Kind::Connect, None) => {
            let listener = listen(end)?;
            loop {
                let mut request = [0; SMALL];
                let mut stream = listener.accept()?.0;
                let _ = stream.read_exact(&mut request).and_then(|()| stream.write_all(&request));
            }
        }
        (Kind::Ping, Some(to)) => ping(to, end)?,
        (Kind::Ping, None) => return Ok(()),
    };
    println!("{}", serde_json::to_string(&Seen { cpu: cpu(), ..seen })?);
    // Threads that still send are of no use to anybody.
    process::exit(0)
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn ready() -> io::Result<()> {
    println!("ready");
    io::stdout().flush()
}

fn listen(end: &End) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, end.port))?;
    // Connections that come have it from here.
    sockopt::set_tcp_congestion(&listener, &end.congestion)?;
    ready()?;
    Ok(listener)
}

fn serve(end: &End) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, end.port))?;
    let room = 8 << 20;
    sockopt::set_socket_recv_buffer_size_force(&socket, room)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, room))?;
    ready()?;
    Ok(socket)
}

fn connections(to: Ipv4Addr, end: &End) -> io::Result<Vec<TcpStream>> {
    (0..end.streams).map(|_| connect(to, end)).collect()
}

fn connect(to: Ipv4Addr, end: &End) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // Before it connects: what one way has begun, such as to send at a pace, the next does not undo.
    sockopt::set_tcp_congestion(&socket, &end.congestion)?;
    rustix::net::connect(&socket, &SocketAddr::from((to, end.port)))?;
    Ok(socket.into())
}

fn datagrams(to: Ipv4Addr, end: &End) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(SocketAddr::from((to, end.port)))?;
    Ok(socket)
}

/// A thread for each stream and direction, as programs would be. Whoever serves only answers in kind.
fn bulk(end: &End, streams: &[TcpStream], receives: bool) -> io::Result<Seen> {
    let received = Arc::new(AtomicU64::new(0));
    for stream in streams {
        if end.to.is_some() || end.kind == Kind::Both {
            let mut out = stream.try_clone()?;
            thread::spawn(move || while out.write_all(&[0; LARGE]).is_ok() {});
        }
        if receives {
            let (mut from, received) = (stream.try_clone()?, Arc::clone(&received));
            thread::spawn(move || {
                let mut room = vec![0; LARGE];
                while let Ok(len @ 1..) = from.read(&mut room) {
                    received.fetch_add(len as u64, Relaxed);
                }
            });
        }
    }
    thread::sleep(WARM);
    let (began, before) = (Instant::now(), received.load(Relaxed));
    thread::sleep(Duration::from_secs_f64(end.seconds));
    let (count, seconds) = (received.load(Relaxed) - before, began.elapsed().as_secs_f64());
    // The other end has not counted to its end yet.
    thread::sleep(WARM / 4);
    Ok(Seen { count, seconds, total: received.load(Relaxed), ..Seen::default() })
}

fn flood(socket: &UdpSocket, end: &End) -> io::Result<Seen> {
    let data = [0; SMALL];
    let piece = [IoSlice::new(&data)];
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; sys::BURST] =
        std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut messages: Vec<_> = controls.iter_mut().map(|control| MMsgHdr::new(&piece, control)).collect();
    let until = Instant::now() + WARM * 2 + Duration::from_secs_f64(end.seconds);
    while Instant::now() < until {
        // An answer that nobody listens is of no interest: the other end may be done.
        let _ = sendmmsg(socket, &mut messages, SendFlags::empty());
    }
    Ok(Seen::default())
}

fn sink(socket: &UdpSocket, end: &End) -> io::Result<Seen> {
    sys::receive(socket)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let receive_for = |time: Duration| -> io::Result<Seen> {
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < time {
            // Nothing for so long is nothing received.
            count += sys::receive(socket).unwrap_or(0) as u64;
        }
        Ok(Seen { count, seconds: began.elapsed().as_secs_f64(), ..Seen::default() })
    };
    receive_for(WARM)?;
    receive_for(Duration::from_secs_f64(end.seconds))
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&[0; SMALL])?;
    stream.read_exact(&mut [0; SMALL])
}

fn connect_once(to: Ipv4Addr, end: &End) -> io::Result<()> {
    let mut stream = connect(to, end)?;
    // Closed by a reset: else ports run out.
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    exchange(&mut stream)
}

/// One after the other. A lost one counts for nothing but the time it took.
fn transactions(end: &End, mut once: impl FnMut() -> io::Result<()>) -> io::Result<Seen> {
    let warm = Instant::now();
    while warm.elapsed() < WARM {
        once()?;
    }
    let (began, mut times) = (Instant::now(), Vec::new());
    let mut last = began;
    while last - began < Duration::from_secs_f64(end.seconds) {
        let lost = once().is_err();
        let now = Instant::now();
        if !lost {
            times.push(now - last);
        }
        last = now;
    }
    let seconds = (last - began).as_secs_f64();
    Ok(Seen { count: times.len() as u64, seconds, median_us: median_us(&mut times), ..Seen::default() })
}

fn median_us(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

fn ping(to: Ipv4Addr, end: &End) -> io::Result<Seen> {
    let socket: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP))?;
    rustix::net::connect(&socket, &SocketAddr::from((to, 0)))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let (began, mut times) = (Instant::now(), Vec::new());
    for sequence in 1u16.. {
        if began.elapsed() >= Duration::from_secs_f64(end.seconds) {
            break;
        }
        let mut echo = [0; SMALL];
        echo[0] = 8;
        echo[6..8].copy_from_slice(&sequence.to_be_bytes());
        let sent = Instant::now();
        rustix::net::send(&socket, &echo, SendFlags::empty())?;
        let mut answer = [MaybeUninit::uninit(); SMALL];
        while let Ok(((answer, _), _)) = recv(&socket, &mut answer, RecvFlags::empty()) {
            if answer.get(6..8) == Some(&sequence.to_be_bytes()[..]) {
                times.push(sent.elapsed());
                break;
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    let (count, seconds) = (times.len() as u64, began.elapsed().as_secs_f64());
    Ok(Seen { count, seconds, median_us: median_us(&mut times), ..Seen::default() })
}
