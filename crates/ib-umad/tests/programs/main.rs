//! Programs of Debian that know nothing of us, with the library preloaded.

#[path = "../fake/mod.rs"]
mod fake;

use std::{
    path::PathBuf,
    process::{Command, Output},
    thread,
};

use fake::{Lab, NODE, adapter};
use ib_umad::{
    frame::Header,
    protocol::{NODE_VARIABLE, SOCKET_VARIABLE},
};

/// The library that was built with this test.
fn library() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let library = own.with_file_name("libib_umad.so");
    assert!(library.exists(), "{}: not built", library.display());
    library
}

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LD_PRELOAD", library());
    command.env_remove(SOCKET_VARIABLE).env_remove(NODE_VARIABLE);
    command
}

fn in_lab(lab: &Lab, name: &str) -> Command {
    let mut command = program(name);
    command.env(SOCKET_VARIABLE, lab.path()).env(NODE_VARIABLE, NODE);
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{:?}: {error}: is infiniband-diags installed?", command.get_program())
    })
}

fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn lab_of_two() -> Lab {
    let lab = Lab::start();
    let (device, ports) = adapter("two", &[1, 2]);
    lab.add(device, ports);
    let (device, ports) = adapter("one", &[1]);
    lab.add(device, ports);
    lab
}

#[test]
fn ibstat_shows_what_the_lab_says() {
    let (device, ports) = adapter("one", &[1]);
    let lab = lab_of_two();
    let (out, error) = told(&run(in_lab(&lab, "ibstat").arg("one")));
    assert_eq!(error, "");
    let expected = format!(
        "CA 'one'\n\tCA type: ipoib\n\tNumber of ports: 1\n\tFirmware version: 1.2.3\n\tHardware version: b0\n\
         \tNode GUID: {:#018x}\n\tSystem image GUID: {:#018x}\n\
         \tPort 1:\n\t\tState: Active\n\t\tPhysical state: LinkUp\n\t\tRate: 100\n\t\tBase lid: 17\n\t\tLMC: 1\n\
         \t\tSM lid: 7\n\t\tCapability mask: 0x0251486a\n\t\tPort GUID: {:#018x}\n\t\tLink layer: InfiniBand\n",
        device.node_guid, device.system_guid, ports[0].guid,
    );
    assert_eq!(out, expected);

    let (out, _) = told(&run(in_lab(&lab, "ibstat").args(["two", "2"])));
    assert!(out.contains("Base lid: 18\n"), "{out}");
}

#[test]
fn ibstat_lists_adapters_and_port_guids() {
    let lab = lab_of_two();
    assert_eq!(told(&run(in_lab(&lab, "ibstat").arg("-l"))), ("one\ntwo\n".to_owned(), String::new()));
    let guids = [guid("one", 1), guid("two", 1), guid("two", 2)];
    let expected = guids.map(|guid| format!("{guid:#018x}\n")).concat();
    assert_eq!(told(&run(in_lab(&lab, "ibstat").arg("-p"))), (expected, String::new()));
}

fn guid(name: &str, number: u8) -> u64 {
    adapter(name, &[number]).1[0].guid
}

#[test]
fn outside_a_lab_there_is_no_infiniband_and_one_line_says_why() {
    let output = run(program("ibstat").arg("-l"));
    let (out, error) = told(&output);
    assert!(output.status.success());
    assert_eq!(out, "");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("ipoib: ") && error.contains("ipoib exec"), "{error}");

    let gone =
        program("sminfo").env(SOCKET_VARIABLE, "/nonexistent/lab").env(NODE_VARIABLE, NODE).output().unwrap();
    let (_, error) = told(&gone);
    assert!(!gone.status.success());
    assert_eq!(error.lines().filter(|line| line.starts_with("ipoib: ")).count(), 1, "{error}");
    assert!(error.contains("/nonexistent/lab"), "{error}");
}

#[test]
fn a_program_that_asks_for_nothing_notices_nothing() {
    let output = run(program("true").env(SOCKET_VARIABLE, "/nonexistent/lab"));
    assert!(output.status.success());
    assert_eq!(told(&output), (String::new(), String::new()));
}

#[test]
fn a_lab_of_another_version_says_so() {
    let lab = lab_of_two();
    lab.speak(77);
    let (out, error) = told(&run(in_lab(&lab, "ibstat").arg("-l")));
    assert_eq!(out, "");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("the lab speaks version 77"), "{error}");
}

#[test]
fn sminfo_asks_over_the_fabric_and_prints_the_answer() {
    let lab = lab_of_two();
    let answering = lab.clone();
    let answer = thread::spawn(move || {
        let mut far = answering.far("one");
        let (header, mut mad) = far.receive();
        let asked = (header, mad.clone());
        // GetResp, then SMInfo: GUID, activity count, priority and state.
        mad[3] = 0x81;
        mad[64..72].copy_from_slice(&0x0002_c903_00aa_bbcc_u64.to_be_bytes());
        mad[80..84].copy_from_slice(&4711_u32.to_be_bytes());
        mad[84] = 5 << 4 | 3;
        far.send(&Header { status: 0, ..header }, &mad);
        asked
    });
    let (out, error) = told(&run(&mut in_lab(&lab, "sminfo")));
    let (header, mad) = answer.join().unwrap();
    assert_eq!(error, "");
    assert_eq!(
        out,
        "sminfo: sm lid 7 sm guid 0x2c90300aabbcc, activity count 4711 priority 5 state 3 SMINFO_MASTER\n"
    );
    assert_eq!(header.address.lid, 7);
    assert_eq!((header.address.qpn, header.address.qkey), (0, 0));
    assert_eq!((mad.len(), mad[1], mad[3]), (256, 0x01, 0x01));
    assert!(header.timeout_ms > 0);
    let registered = lab.registrations("one");
    assert_eq!(registered[usize::try_from(header.agent).unwrap()].class, 0x01);
}

#[test]
fn a_request_that_comes_back_is_a_timeout() {
    let lab = lab_of_two();
    let answering = lab.clone();
    let answers = thread::spawn(move || {
        let mut far = answering.far("one");
        for _ in 0..3 {
            let (header, mad) = far.receive();
            // As the kernel: only the common header comes back.
            far.send(&Header { status: libc::ETIMEDOUT.cast_unsigned(), ..header }, &mad[..24]);
        }
    });
    let output = run(in_lab(&lab, "sminfo").args(["-e", "-t", "50"]));
    answers.join().unwrap();
    let (_, error) = told(&output);
    assert!(!output.status.success());
    assert!(error.contains("timeout after 3 retries"), "{error}");
}

#[test]
fn debugging_tells_the_calls() {
    let lab = lab_of_two();
    let (_, error) = told(&run(in_lab(&lab, "ibstat").args(["-l", "-dd"])));
    assert!(error.contains("ipoib: umad_get_ca_device_list() = 2\n"), "{error}");
}

#[test]
fn the_library_exports_the_functions_and_nothing_else() {
    let output = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    let (out, _) = told(&output);
    let names: Vec<&str> = out.lines().filter_map(|line| line.split(' ').next_back()).collect();
    assert!(names.len() > 30, "{names:?}");
    let foreign: Vec<_> = names.iter().filter(|name| !name.starts_with("umad_")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");

    // All that programs of this system want, but for what needs no port.
    let libraries = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let mut libraries = libraries.map(|directory| directory.path().join("libibumad.so.3"));
    let real = libraries.find(|library| library.exists()).expect("libibumad3");
    let (real, _) = told(&run(Command::new("nm").args(["-D", "--defined-only"]).arg(real)));
    let wanted = real.lines().filter_map(|line| line.split(' ').next_back()?.split('@').next());
    let missing: Vec<_> = wanted
        .filter(|name| name.starts_with("umad_") && !name.ends_with("_str") && !name.ends_with("_dump"))
        .filter(|name| !names.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
