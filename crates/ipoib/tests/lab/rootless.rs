//! The lab of an ordinary user.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::{
    harness::{Lab, PATIENCE, Running, TempDir, new_name, require, run},
    opensm::require_opensm,
};

/// Nobody in particular.
const USER: u32 = 54321;

/// A machine whose /dev/net/tun is open to all, and the program where all may read it: a mount namespace, seen from
/// one process and its children.
struct Open {
    dir: TempDir,
}

impl Open {
    fn new() -> Self {
        require(&[("unshare", "util-linux"), ("setpriv", "util-linux"), ("mount", "mount")]);
        let dir = TempDir::new();
        let mode = |path: &str, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (tun, run_dir, program) = (dir.file("tun"), dir.file("run"), dir.file("ipoib"));
        mknodat(CWD, &tun, FileType::CharacterDevice, Mode::RUSR, makedev(10, 200))
            .expect("tests make a device node: run them as root");
        mode(&tun, 0o666);
        mode(dir.path().to_str().unwrap(), 0o755);
        fs::create_dir(&run_dir).unwrap();
        chown(&run_dir, Some(USER), Some(USER)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_ipoib"), &program).unwrap();
        mode(&program, 0o755);
        Self { dir }
    }

    /// `ipoib ARGS` by the user.
    fn ipoib(&self, args: &[&str]) -> Command {
        let script = format!(
            "mount --bind {} /dev/net/tun
            exec setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs {} \"$@\"",
            self.dir.file("tun"),
            self.dir.file("ipoib"),
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", &script, "sh"]).args(args).current_dir("/");
        command.env("XDG_RUNTIME_DIR", self.dir.file("run")).env_remove("IPOIB_LAB").env("HOME", "/");
        command
    }
}

#[test]
fn an_ordinary_user_s_lab_is_managed_by_opensm_and_has_its_tools() {
    require_opensm();
    require(&[("ping", "iputils-ping"), ("ibnetdiscover", "infiniband-diags")]);
    let open = Open::new();
    let built = Path::new(env!("CARGO_BIN_EXE_ipoib")).parent().expect("a directory");
    let places = ["libib_umad.so", "deps/libib_umad.so"].map(|place| built.join(place));
    let built = places.iter().find(|path| path.is_file()).expect("the library is built with the program");
    fs::copy(built, open.dir.file("libib_umad.so")).unwrap();
    let script = "test $(id -u) = 0 && ping -n -c 1 -W 9 h2 && sminfo && ibswitches && ibstatus && saquery -N | tail -1";
    let done = run(&mut open.ipoib(&["lab", "--sm", "opensm", "--", "sh", "-euc", script]), PATIENCE);
    done.exits(0).says(&[" 0% packet loss", "SMINFO_MASTER", "\"sw2\"", "4: ACTIVE"]);
}

#[test]
fn an_ordinary_user_has_a_lab_for_a_command() {
    require(&[("ping", "iputils-ping")]);
    let open = Open::new();
    let apart = ["lab", "--isolate", "--", "ping", "-c", "3", "-i", "0.2", "h2"];
    run(&mut open.ipoib(&apart), PATIENCE).exits(0).says(&["3 received"]);
    let done = run(&mut open.ipoib(&["lab", "--", "ping", "-c", "3", "-i", "0.2", "h2"]), PATIENCE);
    done.exits(0).says(&["3 received", " 0% packet loss"]);
    run(&mut open.ipoib(&["lab", "--", "sh", "-c", "exit 7"]), PATIENCE).exits(7);
    assert_eq!(fs::read_dir(open.dir.file("run")).unwrap().count(), 0);
}

#[test]
fn an_ordinary_user_works_in_a_lab_that_runs() {
    require(&[("ibstatus", "infiniband-diags")]);
    let open = Open::new();
    let name = new_name();
    let mut lab = Lab::with(name.clone(), &mut open.ipoib(&["lab", "--name", &name]));
    lab.wait_until_up();
    let exec = |words: &[&str]| run(&mut open.ipoib(&[&["exec", "h3", "--"], words].concat()), PATIENCE);
    assert_eq!(exec(&["hostname"]).ok(), "h3\n");
    exec(&["ping", "-c", "2", "-i", "0.2", "h1"]).exits(0);
    exec(&["ip", "link", "set", "ib0", "down"]).exits(0);
    exec(&["ibstatus"]).exits(0).says(&["'ipoib_0' port 1 status:", "state:\t\t 4: ACTIVE", "(4X EDR)"]);
    let on_switch = run(&mut open.ipoib(&["exec", "sw1", "--", "ibstatus"]), PATIENCE);
    on_switch.exits(0).says(&["'ipoib_0' port 0 status:", "4: ACTIVE"]);
    run(&mut open.ipoib(&["show", "hosts", "--json"]), PATIENCE).exits(0).says(&["\"schema\": 1"]);
    let file = open.dir.file("run/capture");
    let mut capture = Running::start(&mut open.ipoib(&["capture", "-w", &file, "--link", "sw1:1"]));
    run(&mut open.ipoib(&["stop"]), PATIENCE).exits(0);
    lab.has_ended_well();
    assert!(capture.try_finish(PATIENCE).is_some());
}

/// The right that is missing is named, with what to do about it.
#[test]
fn a_user_without_the_device_is_told_what_to_do() {
    let open = Open::new();
    let closed = open.dir.file("tun");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    let done = run(&mut open.ipoib(&["lab", "--", "true"]), PATIENCE);
    done.exits(2).says(&["ipoib: ", "/dev/net/tun"]);
    println!("{}", done.said());
}
