//! The program against a lab that is a function: what it asks for, prints and exits with.
//!
//! As root only, since a lab's host is a real one.

use std::{
    fs::File,
    io::Read,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use ib_wire::time::Instant;
use ipoib::{
    capture::{Bound, CaptureSink, PatientFile, Timeline},
    control::{
        ControlServer, Entry, Environment, LabInfo, Request, SOCKET,
        schema::{CounterRow, HostRow, Noun, Shown},
    },
    os::{
        rundir::RunDir,
        space::{HostSpace, HostSpec},
    },
};

/// A lab with a host called h1, which tells what it was asked.
struct Lab {
    name: String,
    asked: Arc<Mutex<Vec<String>>>,
    server: Option<ControlServer>,
    _dir: RunDir,
}

impl Lab {
    fn start(test: &str) -> Self {
        let name = format!("cli-{test}-{}", std::process::id());
        let dir = RunDir::create(&name).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&asked);
        let host = HostSpace::create(&HostSpec { hostname: "h1".into(), ..HostSpec::default() });
        let host = host.expect("tests make network namespaces: run them as root");
        let info = LabInfo { name: name.clone(), pid: 7, hosts: 1, state: "up".into(), ..LabInfo::default() };
        let answer = move |request: Request| {
            hear.lock().unwrap().push(format!("{request:?}").split(", reply").next().unwrap().to_owned());
            answer(request, &host, &info);
        };
        let server = ControlServer::start(&dir.path().join(SOCKET), answer).unwrap();
        Self { name, asked, server: Some(server), _dir: dir }
    }

    fn ipoib(&self, words: &[&str]) -> Command {
        let mut command = ipoib(words);
        command.env("IPOIB_LAB", &self.name);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.ipoib(words).output().unwrap()
    }

    fn last_asked(&self) -> String {
        self.asked.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Before its directory.
        drop(self.server.take());
    }
}

fn ipoib(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipoib"));
    command.args(words).stdin(Stdio::null()).env_remove("IPOIB_LAB");
    command
}

fn answer(request: Request, host: &HostSpace, info: &LabInfo) {
    match request {
        Request::Show { noun: Noun::Hosts, reply, .. } => {
            let row = HostRow { name: "h1".into(), interface: "ib0".into(), lid: 3, ..HostRow::default() };
            drop(reply.send(Ok(Shown::Hosts(vec![row]))));
        }
        Request::Show { noun: Noun::Counters, reply, .. } => {
            let counters = [("sent".to_owned(), 7), ("lost".to_owned(), 0)].into();
            let row = CounterRow { node: "h1".into(), part: "ib0".into(), counters, drops: [].into() };
            drop(reply.send(Ok(Shown::Counters(vec![row]))));
        }
        Request::Show { reply, .. } => drop(reply.send(Ok(Shown::Links(Vec::new())))),
        Request::Enter { host: name, reply } if name == "h1" => {
            let fds = host.fds();
            drop(reply.send(Ok(Entry {
                user: None,
                net: fds.net.try_clone_to_owned().unwrap(),
                mnt: fds.mnt.try_clone_to_owned().unwrap(),
                uts: fds.uts.try_clone_to_owned().unwrap(),
                environment: Environment {
                    env: [("IPOIB_HOST".to_owned(), Some(name)), ("SECRET".to_owned(), None)].into(),
                    path: vec!["/lab/bin".into()],
                    ..Environment::default()
                },
                cwd: "/".into(),
            })));
        }
        Request::Enter { host, reply } => drop(reply.send(Err(format!("no host {host}")))),
        Request::Capture { to, reply, .. } => {
            let file = PatientFile(File::from(to));
            let timeline = Timeline::starting(Instant::ZERO);
            let sink = CaptureSink::new(file, &["h1:1".into()], timeline, Bound::default()).unwrap();
            drop(reply.send(Ok(sink.status())));
            std::thread::spawn(move || {
                while !sink.has_ended() {
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        Request::Info { reply } => drop(reply.send(Ok(info.clone()))),
        Request::FaultLink { reply, .. }
        | Request::FaultHost { reply, .. }
        | Request::FaultSm { reply, .. }
        | Request::Inject { reply, .. }
        | Request::Bind { reply, .. }
        | Request::Unbind { reply, .. }
        | Request::Sweep { reply }
        | Request::StartSm { reply, .. }
        | Request::KillSm { reply, .. }
        | Request::Stop { reply } => drop(reply.send(Ok(()))),
    }
}

#[track_caller]
fn said(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_noun_is_a_table_or_its_document() {
    let lab = Lab::start("show");
    let (out, err) = said(&lab.run(&["show", "hosts"]), 0);
    assert!(out.starts_with("HOST") && out.contains("h1 ib0") && err.is_empty(), "{out}{err}");
    let (out, _) = said(&lab.run(&["show", "hosts", "--host", "h1", "--json"]), 0);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&document["schema"], &document["hosts"][0]["lid"]), (&1.into(), &3.into()));
    assert_eq!(lab.last_asked(), r#"Show { noun: Hosts, host: Some("h1")"#);
    assert_eq!(said(&lab.run(&["show", "counters"]), 0).0.lines().count(), 2);
    assert_eq!(said(&lab.run(&["show", "counters", "--all"]), 0).0.lines().count(), 3);
    let (out, err) = said(&lab.run(&["show", "links"]), 0);
    assert_eq!((out.as_str(), err.as_str()), ("", "ipoib: there are no links to show\n"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let lab = Lab::start("pipe");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = lab.ipoib(&["show", "hosts"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(said(&output, 0).1, "");
}

#[test]
fn a_command_in_a_host_is_in_it() {
    let lab = Lab::start("exec");
    let script = "hostname; pwd; echo $IPOIB_HOST $SECRET; echo ${PATH##*:}; ls /sys/class/net; exit 7";
    let mut command = lab.ipoib(&["exec", "h1", "--", "sh", "-c", script]);
    let output = command.env("SECRET", "x").current_dir("/usr").output().unwrap();
    assert_eq!(said(&output, 7).0, "h1\n/usr\nh1\n/lab/bin\nlo\n");
    let (_, err) = said(&lab.run(&["exec", "h9", "true"]), 2);
    assert_eq!(err, "ipoib: no host h9\n");
    let (_, err) = said(&lab.run(&["exec", "h1", "no-such-program"]), 2);
    assert_eq!(err, "ipoib: no-such-program: cannot run it in h1: No such file or directory\n");
}

#[test]
fn faults_and_orders_reach_the_lab() {
    let lab = Lab::start("orders");
    for (words, asked) in [
        (&["fault", "link", "sw1:3", "down"][..], r#"FaultLink { link: "sw1:3", fault: Down"#),
        (&["fault", "link", "sw1:3", "delay", "5ms"], r#"FaultLink { link: "sw1:3", fault: Delay(5ms)"#),
        (&["fault", "host", "h1", "unplug"], r#"FaultHost { host: "h1", fault: Unplug"#),
        (
            &["fault", "link", "sw1:3", "mad-loss", "50%"],
            r#"FaultLink { link: "sw1:3", fault: Share(MadLoss"#,
        ),
        (&["fault", "sm", "busy"], "FaultSm { node: None, fault: Busy"),
        (&["fault", "sm", "slow", "5s", "--node", "sw2"], r#"FaultSm { node: Some("sw2"), fault: Slow(5s)"#),
        (&["fault", "inject", "h1", "f0 01"], r#"Inject { port: "h1", packet: [240, 1]"#),
        (&["sm", "sweep"], "Sweep { reply"),
        (&["sm", "start", "sw2"], r#"StartSm { node: Some("sw2"), priority: None"#),
        (&["sm", "start", "--priority", "9"], "StartSm { node: None, priority: Some(9)"),
        (&["sm", "kill", "h1"], r#"KillSm { node: Some("h1")"#),
    ] {
        let (out, err) = said(&lab.run(words), 0);
        assert_eq!((out.as_str(), err.as_str()), ("", ""));
        assert!(
            lab.last_asked().starts_with(asked.split(" { reply").next().unwrap()),
            "{}",
            lab.last_asked()
        );
    }
}

#[test]
fn a_capture_ends_with_a_signal_and_tells_what_it_has() {
    let lab = Lab::start("capture");
    let file = PathBuf::from(format!("/tmp/ipoib-cli-{}.pcapng", std::process::id()));
    let mut capture = lab
        .ipoib(&["capture", "-w", file.to_str().unwrap(), "--link", "sw1:3"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while std::fs::metadata(&file).map_or(0, |found| found.len()) == 0 {
        assert!(capture.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&capture), rustix::process::Signal::INT)
        .unwrap();
    let output = capture.wait_with_output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(said(&output, 0).1, "ipoib: 0 packets recorded, 0 dropped\n");
    assert!(lab.last_asked().contains(r#"links: ["sw1:3"]"#), "{}", lab.last_asked());
}

#[test]
fn a_capture_goes_into_a_pipe() {
    let lab = Lab::start("stdout");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = lab.ipoib(&["capture", "-w", "-"]);
    let mut capture = command.stdout(writer).spawn().unwrap();
    // Only the capture and the lab hold the other end now.
    drop(command);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut begin = [0; 4];
        reader.read_exact(&mut begin).unwrap();
        tell.send(begin).unwrap();
        let mut rest = Vec::new();
        tell.send([0; 4].map(|_| u8::from(reader.read_to_end(&mut rest).is_ok()))).unwrap();
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), [0x0a, 0x0d, 0x0d, 0x0a]);
    rustix::process::kill_process(rustix::process::Pid::from_child(&capture), rustix::process::Signal::TERM)
        .unwrap();
    assert!(capture.wait().unwrap().success());
    assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), [1; 4]);
}

#[test]
fn a_lab_is_listed_while_it_runs() {
    let lab = Lab::start("list");
    let (out, _) = said(&ipoib(&["list", "--json"]).output().unwrap(), 0);
    let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rows = listed["labs"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["name"] == lab.name && row["state"] == "up"), "{listed:#}");
    let (out, _) = said(&ipoib(&["list"]).output().unwrap(), 0);
    assert!(out.starts_with("LAB") && out.contains(&lab.name), "{out}");
}

#[test]
fn what_was_typed_wrong_is_said_with_status_2() {
    for (words, says) in [
        (&["no-such-verb"][..], "ipoib: unrecognized subcommand 'no-such-verb'"),
        (&["show", "cats"], "ipoib: invalid value 'cats'"),
        (&["show", "hosts", "--lab", "no-such-lab"], "ipoib: lab no-such-lab: not running"),
        (&["fault", "link", "sw1:3", "loss"], "ipoib: fault link: `loss` needs an amount: write `loss 1%`"),
        (&["lab", "--topology", "circle:3"], "ipoib: --topology"),
    ] {
        let (out, err) = said(&ipoib(words).output().unwrap(), 2);
        assert!(out.is_empty() && err.starts_with(says), "{err}");
    }
    let (out, err) = said(&ipoib(&["--help"]).output().unwrap(), 0);
    assert!(out.contains("ipoib lab") && err.is_empty());
}

#[test]
fn called_ping_it_is_ping() {
    let dir = PathBuf::from(format!("/tmp/ipoib-cli-ping-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ipoib"), dir.join("ping")).unwrap();
    let host = HostSpace::create(&HostSpec { hostname: "h1".into(), ..HostSpec::default() }).unwrap();
    let ping = |words: &[&str]| {
        let mut command = host.command(dir.join("ping"), ipoib::os::space::Lifetime::Parent);
        command.args(words).output().unwrap()
    };
    for address in ["127.0.0.1", "::1"] {
        let (out, _) = said(&ping(&["-c", "2", "-i", "0.01", address]), 0);
        assert!(out.contains("2 packets transmitted, 2 received, 0% packet loss"), "{out}");
        assert!(out.contains("icmp_seq=2 ttl=64 time="), "{out}");
    }
    let (_, err) = said(&ping(&["-c", "1", "10.77.0.2"]), 2);
    assert_eq!(err, "ping: connect: Network is unreachable\n");
    let (_, err) = said(&ping(&["-c", "1", "no-such-host.invalid"]), 2);
    assert!(err.starts_with("ping: no-such-host.invalid: "), "{err}");
    std::fs::remove_dir_all(dir).unwrap();
}
