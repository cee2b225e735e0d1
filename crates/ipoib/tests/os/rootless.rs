//! The same without root: a process of an ordinary user makes hosts in a user namespace of its own.
#![expect(unsafe_code, reason = "privileges are given up between fork and exec, where there is one thread")]

use std::{
    fs,
    io::{self, BufRead, BufReader},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ipoib::os::{
    rundir::RunDir,
    space::{Ground, HostSpace, HostSpec, JoinedSpace, Lifetime},
    userns,
};
use rustix::{
    fs::{CWD, FileType, Mode, chmod, makedev, mknodat},
    mount::{MountPropagationFlags, mount_bind, mount_change},
    process::{DumpableBehavior, Gid, Uid, geteuid, set_dumpable_behavior},
    thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe},
};

use crate::{
    eventually,
    hosts::{class, many},
    spec, v4, wired,
};

const USER: u32 = 1000;

/// Lets this process see a machine whose /dev/net/tun is open to all.
fn open_tun_to_all(node: &Path) -> io::Result<()> {
    // SAFETY: FILES is not asked for.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(mount_bind(node, "/dev/net/tun")?)
}

/// Gives up root for good.
fn become_user() -> io::Result<()> {
    set_thread_groups(&[])?;
    let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    // As if it had been started by that user.
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// A device node that is open to all, for as long as it is needed.
struct Node(PathBuf);

impl Node {
    fn new(test: &str) -> Self {
        assert!(geteuid().is_root(), "this test gives up root, so it needs it");
        let path = std::env::temp_dir().join(format!("ipoib-tun-{test}-{}", std::process::id()));
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, makedev(10, 200)).unwrap();
        chmod(&path, Mode::from_raw_mode(0o666)).unwrap();
        Self(path)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs another test of this binary as an ordinary user in a user namespace.
fn ordinary(node: &Node, test: &str) -> Command {
    // By descriptor: the user may have no right to the directory of the binary.
    let binary = fs::File::open("/proc/self/exe").unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
    command.args(["--ignored", "--exact", test, "--nocapture"]);
    command.env("XDG_RUNTIME_DIR", "/nowhere").current_dir("/");
    let tun = node.0.clone();
    let between = move || {
        // Keeps the descriptor until the exec.
        let _binary = &binary;
        open_tun_to_all(&tun)?;
        become_user()?;
        userns::enter_if_needed().map(drop).map_err(|error| {
            eprintln!("{error}: {:?}", std::error::Error::source(&error));
            io::ErrorKind::PermissionDenied.into()
        })
    };
    // SAFETY: the child has one thread and no lock that matters is held; it allocates, which glibc permits.
    unsafe { command.pre_exec(between) };
    command
}

#[test]
fn an_ordinary_user_makes_hosts() {
    let node = Node::new("make");
    let output = ordinary(&node, "rootless::inside_a_user_namespace").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What `ipoib exec` does: the user who runs the lab, and root, enter its host from outside.
#[test]
fn others_join_a_host_in_a_user_namespace() {
    let node = Node::new("join");
    let mut lab = ordinary(&node, "rootless::a_host_until_told")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Held until the end: the lab has more to say.
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ready = lines.find_map(|line| line.strip_prefix("READY ").map(str::to_owned)).expect("a host");
    let fds: Vec<_> = ready.split(' ').map(|fd| format!("/proc/{}/fd/{fd}", lab.id())).collect();
    for as_root in [false, true] {
        let open = |path: &str| OwnedFd::from(fs::File::open(path).unwrap());
        let user = open(&format!("/proc/{}/ns/user", lab.id()));
        let mut space = Some(JoinedSpace::from_fds(Some(user), open(&fds[0]), open(&fds[1]), open(&fds[2])));
        let mut shell = Command::new("sh");
        shell.args(["-c", "hostname; id -u; ls /sys/class/net; ip link set ib0 mtu 1500 && echo may"]);
        let between = move || {
            if !as_root {
                become_user()?;
            }
            space.take().expect("once").join().map_err(io::Error::other)
        };
        // SAFETY: as above.
        unsafe { shell.pre_exec(between) };
        let output = shell.output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "h1\n0\nib0\nlo\nmay\n",
            "root: {as_root}, {output:?}"
        );
    }
    drop(lab.stdin.take());
    let said: Vec<_> = lines.collect();
    assert!(lab.wait().unwrap().success(), "{said:?}");
}

#[test]
#[ignore = "a helper that another test starts"]
fn a_host_until_told() {
    let host = wired(1);
    let fds = host.space.fds();
    println!("\nREADY {} {} {}", fds.net.as_raw_fd(), fds.mnt.as_raw_fd(), fds.uts.as_raw_fd());
    io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
#[ignore = "runs in the user namespace that another test makes"]
fn inside_a_user_namespace() {
    assert!(geteuid().is_root());
    assert_eq!(fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().nth(1), Some("1000"));
    let dir = RunDir::create(&format!("rootless-{}", std::process::id())).unwrap();
    assert!(dir.path().starts_with("/tmp/ipoib-1000"), "{dir:?}");
    let host = wired(1);
    for skipped in host.space.skipped() {
        println!("skipped: {skipped}");
    }
    assert!(host.space.skipped().is_empty(), "{:?}", host.space.skipped());
    let own = v4(1).to_string();
    let ping = host.space.command("ping", Lifetime::Parent).args(["-c1", "-W10", &own]).output().unwrap();
    assert!(ping.status.success(), "{ping:?}");
    let names = host.space.command("ls", Lifetime::Parent).arg("/sys/class/net").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&names.stdout), "ib0\nlo\n");
    has_classes_on_common_ground();
    assert_eq!(many(32).0.len(), 32);
    drop(dir);
    eventually("the directory is removed", || !Path::new("/tmp/ipoib-1000").exists());
}

/// What a lab gives its hosts to read works without root as well.
fn has_classes_on_common_ground() {
    let (dir, classes) = class("rootless");
    let ground = Ground::create(&classes.dirs[0].1).unwrap();
    let device = classes.dirs[0].1.join("device1");
    ground.enter_with(|| fs::write(&device, "x").unwrap()).unwrap();
    let spec = HostSpec { ground: Some(ground), classes: Some(classes), ..spec("h1") };
    let space = HostSpace::create(&spec).unwrap();
    assert!(space.skipped().is_empty(), "{:?}", space.skipped());
    let seen = space.enter_with(|| {
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
        assert!(mounts.contains("overlay /sys/class overlay"), "{mounts}");
        fs::read_to_string("/sys/class/ipoib_test/device1").unwrap()
    });
    assert_eq!(seen.unwrap(), "x");
    drop((space, spec));
    fs::remove_dir_all(dir).unwrap();
}
