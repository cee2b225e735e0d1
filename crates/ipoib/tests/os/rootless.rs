//! The same without root: a process of an ordinary user makes hosts in a user namespace of its own.
#![expect(unsafe_code, reason = "privileges are given up between fork and exec, where there is one thread")]

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::Path,
    process::Command,
};

use ipoib::os::{rundir::RunDir, space::Lifetime, userns};
use rustix::{
    fs::{CWD, FileType, Mode, chmod, makedev, mknodat},
    mount::{MountPropagationFlags, mount_bind, mount_change},
    process::{DumpableBehavior, Gid, Uid, geteuid, set_dumpable_behavior},
    thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe},
};

use crate::{eventually, hosts::many, v4, wired};

const USER: u32 = 1000;

/// Makes this process one of an ordinary user on a machine whose /dev/net/tun is open to all.
fn become_ordinary(node: &Path) -> io::Result<()> {
    // SAFETY: FILES is not asked for.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount_bind(node, "/dev/net/tun")?;
    set_thread_groups(&[])?;
    let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    // As if it had been started by that user.
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

#[test]
fn an_ordinary_user_makes_hosts() {
    assert!(geteuid().is_root(), "this test gives up root, so it needs it");
    let node = std::env::temp_dir().join(format!("ipoib-tun-{}", std::process::id()));
    mknodat(CWD, &node, FileType::CharacterDevice, Mode::RUSR, makedev(10, 200)).unwrap();
    chmod(&node, Mode::from_raw_mode(0o666)).unwrap();
    // By descriptor: the user may have no right to the directory of the binary.
    let binary = fs::File::open("/proc/self/exe").unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
    command.args(["--ignored", "--exact", "rootless::inside_a_user_namespace", "--nocapture"]);
    command.env("XDG_RUNTIME_DIR", "/nowhere").current_dir("/");
    let tun = node.clone();
    let between = move || {
        become_ordinary(&tun)?;
        userns::enter_if_needed().map(drop).map_err(|error| {
            eprintln!("{error}: {:?}", std::error::Error::source(&error));
            io::ErrorKind::PermissionDenied.into()
        })
    };
    // SAFETY: the child has one thread and no lock that matters is held; it allocates, which glibc permits.
    unsafe { command.pre_exec(between) };
    let output = command.output();
    fs::remove_file(node).unwrap();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
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
    assert_eq!(many(32).0.len(), 32);
    drop(dir);
    eventually("the directory is removed", || !Path::new("/tmp/ipoib-1000").exists());
}
