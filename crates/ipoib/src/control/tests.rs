//! Both ends of the socket against each other, with a lab that is a function.

use std::{
    fs::File,
    io::{BufRead, BufReader, PipeReader, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    schema::{HostRow, Noun, Shown},
    *,
};
use crate::capture::{Bound, CaptureSink, PatientFile, Timeline};

/// A socket of its own for every test.
fn socket(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ipoib-control-{test}-{}", std::process::id()))
}

fn serve(path: &Path, lab: impl Fn(Request) + Send + 'static) -> ControlServer {
    ControlServer::start(path, lab).unwrap()
}

fn ns(name: &str) -> OwnedFd {
    File::open(format!("/proc/self/ns/{name}")).unwrap().into()
}

fn link(fd: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
}

#[test]
fn a_shown_noun_arrives_as_its_document() {
    let path = socket("show");
    let _server = serve(&path, |request| match request {
        Request::Show { noun: Noun::Hosts, host, reply } => {
            let row = HostRow { name: host.unwrap_or_default(), ..HostRow::default() };
            let _ = reply.send(Ok(Shown::Hosts(vec![row])));
        }
        Request::Show { reply, .. } => {
            let _ = reply.send(Err("nothing to see".into()));
        }
        _ => {}
    });
    let mut client = Client::connect(&path).unwrap();
    let document = client.show(Noun::Hosts, Some("h3".into())).unwrap();
    assert_eq!((&document["schema"], &document["hosts"][0]["name"]), (&1.into(), &"h3".into()));
    assert_eq!(client.show(Noun::Links, None).unwrap_err().to_string(), "nothing to see");
}

#[test]
fn faults_arrive_as_they_were_meant() {
    let path = socket("fault");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let lab = Arc::clone(&seen);
    let _server = serve(&path, move |request| match request {
        Request::FaultLink { link, fault, reply } => {
            lab.lock().unwrap().push(format!("{link} {fault:?}"));
            let _ = reply.send(Ok(()));
        }
        Request::FaultHost { host, fault, reply } => {
            lab.lock().unwrap().push(format!("{host} {fault:?}"));
            let _ = reply.send(Ok(()));
        }
        _ => {}
    });
    let mut client = Client::connect(&path).unwrap();
    client.fault_link("sw1:3", LinkFault::read("loss", Some("1%")).unwrap()).unwrap();
    client.fault_link("sw1:3", LinkFault::Clear).unwrap();
    client.fault_host("h1", HostFault::Unplug).unwrap();
    assert_eq!(*seen.lock().unwrap(), ["sw1:3 Share(Loss, Probability(1%))", "sw1:3 Clear", "h1 Unplug"]);
}

#[test]
fn the_way_into_a_host_is_descriptors() {
    let path = socket("enter");
    let _server = serve(&path, |request| {
        if let Request::Enter { host, reply } = request {
            let user = (host == "h1").then(|| ns("user"));
            let env = [("IPOIB_HOST".to_owned(), Some(host)), ("LD_PRELOAD".to_owned(), None)];
            let _ = reply.send(Ok(Entry {
                user,
                net: ns("net"),
                mnt: ns("mnt"),
                uts: ns("uts"),
                environment: Environment {
                    env: env.into(),
                    directories: [("OSM_TMP_DIR".to_owned(), "/lab/opensm".into())].into(),
                    preload: vec!["/lab/libib_umad.so".into()],
                    path: vec!["/lab/bin".into()],
                },
                cwd: "/".into(),
            }));
        }
    });
    let mut client = Client::connect(&path).unwrap();
    let entry = client.enter("h1").unwrap();
    assert_eq!(link(&entry.net), link(&ns("net")));
    assert_eq!(link(&entry.mnt), link(&ns("mnt")));
    assert_eq!(link(&entry.uts), link(&ns("uts")));
    assert_eq!(link(&entry.user.unwrap()), link(&ns("user")));
    let Environment { env, directories, preload, path } = &entry.environment;
    assert_eq!(env["LD_PRELOAD"], None);
    assert_eq!(env["IPOIB_HOST"].as_deref(), Some("h1"));
    assert_eq!(directories["OSM_TMP_DIR"], Path::new("/lab/opensm"));
    assert_eq!([preload, path], [&[PathBuf::from("/lab/libib_umad.so")], &[PathBuf::from("/lab/bin")]]);
    assert!(client.enter("h2").unwrap().user.is_none());
}

/// A lab whose captures record nothing, and which tells of each one that ended.
fn recording(ended: Arc<AtomicBool>) -> impl Fn(Request) + Send {
    move |request| {
        let Request::Capture { to, reply, .. } = request else { return };
        let file = PatientFile(File::from(to));
        let timeline = Timeline::from_origin(0);
        let sink = CaptureSink::new(file, &["h1:1".into()], timeline, Bound::default()).unwrap();
        let _ = reply.send(Ok(sink.status()));
        let ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            while !sink.has_ended() {
                std::thread::sleep(Duration::from_millis(2));
            }
            ended.store(true, Ordering::Release);
        });
    }
}

fn eventually(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads a pipe to its end in a thread, and tells when its first octets have come.
fn reader(mut pipe: PipeReader) -> (oneshot::Receiver<[u8; 4]>, JoinHandle<usize>) {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let mut begin = [0; 4];
        pipe.read_exact(&mut begin).unwrap();
        let _ = tell.send(begin);
        let mut rest = Vec::new();
        pipe.read_to_end(&mut rest).unwrap()
    });
    (told, thread)
}

#[test]
fn a_capture_runs_until_the_client_has_enough() {
    let (path, ended) = (socket("capture"), Arc::new(AtomicBool::new(false)));
    let _server = serve(&path, recording(Arc::clone(&ended)));
    let (pipe, writer) = std::io::pipe().unwrap();
    let (begun, rest) = reader(pipe);
    let mut client = Client::connect(&path).unwrap();
    let enough = async || assert_eq!(begun.await.unwrap(), [0x0a, 0x0d, 0x0d, 0x0a]);
    let summary = client.capture(CaptureFilter::default(), writer.into(), enough).unwrap();
    assert_eq!((summary.packets, summary.error), (0, None));
    eventually(|| ended.load(Ordering::Acquire));
    // The lab has closed its end: else this would wait forever.
    assert!(rest.join().unwrap() > 0);
}

#[test]
fn a_capture_ends_with_its_client() {
    let (path, ended) = (socket("leave"), Arc::new(AtomicBool::new(false)));
    let _server = serve(&path, recording(Arc::clone(&ended)));
    let (pipe, writer) = std::io::pipe().unwrap();
    let (begun, rest) = reader(pipe);
    let mut client = Client::connect(&path).unwrap();
    let leave = async || {
        begun.await.unwrap();
        panic!("the client goes");
    };
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        client.capture(CaptureFilter::default(), writer.into(), leave)
    }));
    assert!(left.is_err());
    drop(client);
    eventually(|| ended.load(Ordering::Acquire));
    assert!(rest.join().unwrap() > 0);
}

#[test]
fn a_capture_whose_reader_goes_tells_the_client() {
    let (path, ended) = (socket("reader"), Arc::new(AtomicBool::new(false)));
    let _server = serve(&path, recording(ended));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut client = Client::connect(&path).unwrap();
    let summary = client
        .capture(CaptureFilter::default(), writer.into(), async || std::future::pending().await)
        .unwrap();
    assert!(summary.error.is_some());
}

/// One call by hand, as any varlink client would send it.
fn raw(path: &Path, message: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(message.as_bytes()).unwrap();
    stream.write_all(&[0]).unwrap();
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(0, &mut answer).unwrap();
    assert_eq!(answer.pop(), Some(0));
    String::from_utf8(answer).unwrap()
}

#[test]
fn other_programs_find_the_contract_and_their_mistakes() {
    let path = socket("raw");
    let _server = serve(&path, |_| {});
    let info = raw(&path, r#"{"method": "org.varlink.service.GetInfo"}"#);
    assert!(info.contains("org.ipoib.lab"), "{info}");
    let ask = r#"{"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": "org.ipoib.lab"}}"#;
    assert!(raw(&path, ask).contains("method FaultLink"));
    for (call, error) in [
        (r#"{"method": "org.ipoib.lab.Fly"}"#, "MethodNotFound"),
        (r#"{"method": "org.example.Fly"}"#, "InterfaceNotFound"),
        (r#"{"method": "Fly"}"#, "InterfaceNotFound"),
        (r#"{"method": "org.ipoib.lab.Show"}"#, "InvalidParameter"),
        (r#"{"method": "org.ipoib.lab.Show", "parameters": {"noun": "cats"}}"#, "InvalidParameter"),
        (
            r#"{"method": "org.ipoib.lab.FaultLink", "parameters": {"link": "sw1:3", "fault": "loss"}}"#,
            "needs an amount",
        ),
        (r#"{"method": "org.ipoib.lab.Capture", "parameters": {"to": 0}}"#, "ExpectedMore"),
        (r#"{"method": "org.ipoib.lab.Capture", "parameters": {"to": 0}, "more": true}"#, "InvalidParameter"),
        (r#"{"method": "org.ipoib.lab.Sweep"}"#, "org.ipoib.lab.Ending"),
    ] {
        let answer = raw(&path, call);
        assert!(answer.contains(error), "{call}: {answer}");
    }
}

#[test]
fn a_client_that_reads_nothing_keeps_nobody_waiting() {
    let path = socket("deaf");
    let _server = serve(&path, |request| {
        if let Request::Show { reply, .. } = request {
            let row = HostRow { name: "h".repeat(1 << 20), ..HostRow::default() };
            let _ = reply.send(Ok(Shown::Hosts(vec![row])));
        } else if let Request::Info { reply } = request {
            let _ = reply.send(Ok(LabInfo { name: "here".into(), ..LabInfo::default() }));
        }
    });
    let mut deaf = UnixStream::connect(&path).unwrap();
    let call = "{\"method\": \"org.ipoib.lab.Show\", \"parameters\": {\"noun\": \"hosts\"}}\0";
    for _ in 0..5 {
        deaf.write_all(call.as_bytes()).unwrap();
    }
    let mut silent = UnixStream::connect(&path).unwrap();
    silent.write_all(b"{\"method\": ").unwrap();
    let mut garbage = UnixStream::connect(&path).unwrap();
    garbage.write_all(b"\0\xff\xfe{}\0[1]\0").unwrap();
    let before = Instant::now();
    assert_eq!(Client::connect(&path).unwrap().info().unwrap().name, "here");
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_end_of_the_lab_is_the_end_of_the_connection() {
    let path = socket("stop");
    let server = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&server);
    *server.lock().unwrap() = Some(serve(&path, move |request| {
        if let Request::Stop { reply } = request {
            let _ = reply.send(Ok(()));
            let slot = Arc::clone(&slot);
            std::thread::spawn(move || drop(slot.lock().unwrap().take()));
        }
    }));
    Client::connect(&path).unwrap().stop().unwrap();
    eventually(|| !path.exists());
    assert!(matches!(Client::connect(&path), Err(ClientError::Gone(_))));
}

#[test]
fn the_contract_is_well_formed_varlink() {
    let interface = zlink::idl::Interface::try_from(DESCRIPTION).unwrap();
    assert_eq!(interface.name(), INTERFACE);
    let methods: Vec<_> = interface.methods().map(|method| method.name().to_owned()).collect();
    assert_eq!(
        methods,
        [
            "Info",
            "Show",
            "FaultLink",
            "FaultHost",
            "FaultSm",
            "Inject",
            "Enter",
            "Capture",
            "EndCapture",
            "BindPort",
            "UnbindPort",
            "Sweep",
            "StartSm",
            "KillSm",
            "Stop"
        ]
    );
}

#[test]
fn the_tables_of_a_large_lab_arrive_in_no_time() {
    let path = socket("large");
    let _server = serve(&path, |request| {
        if let Request::Show { reply, .. } = request {
            let row = HostRow { name: "h1".into(), address: "x".repeat(300), ..HostRow::default() };
            let _ = reply.send(Ok(Shown::Hosts(vec![row; 10_000])));
        }
    });
    let before = Instant::now();
    let document = Client::connect(&path).unwrap().show(Noun::Hosts, None).unwrap();
    assert_eq!(document["hosts"].as_array().map(Vec::len), Some(10_000));
    println!("{:?}", before.elapsed());
    assert!(before.elapsed() < Duration::from_secs(15), "{:?}", before.elapsed());
}
