//! Options, reports, exit status, interruption; and the manual's tables.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{ended, ipoib, said, verify};

/// A lab of somebody else's, until this is dropped.
struct Lab {
    name: String,
    child: Child,
}

impl Lab {
    fn start(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let words = ["lab", "--name", &name, "--topology", "star:2"];
        let mut child = ipoib(words).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let up = lines.find(|line| line.contains("up in"));
        assert!(up.is_some(), "the lab does not come up");
        std::thread::spawn(move || lines.for_each(drop));
        Self { name, child }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn rows_that_a_running_lab_allows_run_in_it() {
    let lab = Lab::start("guest");
    let words =
        ["--lab", &lab.name, "--filter", "T1b", "--filter", "T11a", "--filter", "T17", "--filter", "T4b"];
    let (output, document) = verify(&words);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(ended(&document, "ok"), ["T1b", "T11a"]);
    assert_eq!(ended(&document, "left out"), ["T4b", "T17"]);
    let why = |i: usize| document["rows"][i]["said"].as_str().unwrap().to_owned();
    assert!(why(1).contains("needs 3 hosts") && why(3).contains("without --lab"), "{document:#}");
    // A fault that is named harms the lab and mends it.
    let (output, document) = verify(&["--lab", &lab.name, "--filter", "F17"]);
    assert!(output.status.success() && ended(&document, "ok") == ["F17"], "{}", said(&output));
    assert!(ipoib(["show", "--lab", &lab.name, "hosts"]).output().unwrap().status.success());
}

#[test]
fn a_row_that_fails_is_told_in_every_form() {
    let lab = Lab::start("harmed");
    let fault = ["fault", "link", "--lab", &lab.name, "h2", "down"];
    assert!(ipoib(fault).status().unwrap().success());
    let junit = std::env::temp_dir().join(format!("ipoib-junit-{}.xml", std::process::id()));
    let words = ["verify", "--lab", &lab.name, "--filter", "=T11a", "--junit", junit.to_str().unwrap()];
    let output = ipoib(words).output().unwrap();
    let xml = fs::read_to_string(&junit).unwrap();
    fs::remove_file(&junit).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("T11a  ping, everybody") && text.contains("0 ok, 1 FAILED, 0 left out"), "{text}");
    assert!(text.contains("answered by every other host") && text.contains("answered 0 of"), "{text}");
    assert!(xml.contains("failures=\"1\"") && xml.contains("<failure message="), "{xml}");
}

#[test]
fn what_is_missing_is_named_with_its_package() {
    let output = ipoib(["verify", "--filter", "=T4"]).env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = "ipoib: iperf, nstat: are missing: install Debian packages with \
                  `apt-get install --no-install-recommends iperf iproute2`";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn a_row_that_does_not_exist_is_refused() {
    let output = ipoib(["verify", "--filter", "T99"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("ipoib: --filter T99: there is no such row"), "{}", said(&output));
}

/// Processes that still run with this word on their command line.
fn with_word(word: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let line = |process: fs::DirEntry| fs::read(process.path().join("cmdline")).ok();
    let lines = processes.filter_map(line).map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(word)).collect()
}

#[test]
fn an_interrupted_run_ends_all_it_began() {
    let mut child = ipoib(["verify", "--filter", "=T5", "--filter", "=T11"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    // The first row is done, and the second is on its way.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.starts_with("T5 ")));
    let begin = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{status}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(with_word(&format!("verify-{pid}-")), [""; 0]);
    let temporary = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let left: Vec<_> = temporary.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.starts_with(&format!("verify-{pid}-"))), "{left:?}");
}

/// `ipoib verify --list --markdown` prints what the manual has between its marks.
#[test]
fn the_manual_has_the_tables_of_the_program() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/verification.md");
    let manual = fs::read_to_string(manual).unwrap();
    let (_, rest) = manual.split_once("<!-- rows -->\n").expect("a mark before the tables");
    let (tables, _) = rest.split_once("<!-- /rows -->").expect("a mark after the tables");
    let output = ipoib(["verify", "--list", "--markdown"]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success());
    assert!(
        tables.trim() == printed.trim(),
        "put what `ipoib verify --list --markdown` prints into the manual"
    );
}
