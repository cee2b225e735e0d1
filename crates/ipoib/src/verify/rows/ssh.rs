//! T10b: ssh, scp, sftp, with keys of their own.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::super::{
    bench::{Bench, nothing, rate},
    process::Process,
    programs,
    row::LeftOut,
};

/// A new key without a passphrase.
fn key(bench: &Bench<'_>, name: &str) -> Result<String> {
    let file = bench.file(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &file]).stdin(nothing());
    Process::start(&mut keygen)?.finish(Duration::from_secs(20))?.ok()?;
    Ok(file)
}

/// T10b: a command, and a file both ways by each of the two programs.
pub(in super::super) fn copies(bench: &mut Bench<'_>) -> Result<String> {
    if !geteuid().is_root() {
        return Err(LeftOut("sshd changes its user: run it as root".into()).into());
    }
    let (client, server) = (bench.client()?, bench.server()?);
    let (host_key, user_key) = (key(bench, "host")?, key(bench, "user")?);
    fs::copy(bench.path("user.pub"), bench.path("authorized"))?;
    let config = format!(
        "Port 22\nHostKey {host_key}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n",
        bench.file("authorized")
    );
    let config = bench.write("sshd.conf", config)?;
    let sshd = programs::find("sshd").context("sshd is missing")?;
    // The host's own /run, not the machine's.
    let script = format!("mkdir -p /run/sshd; exec {sshd} -D -e -f {config}");
    let _sshd = bench.serve(server, ("tcp", 22), &["sh", "-c", &script])?;
    let known = format!("UserKnownHostsFile={}", bench.file("known"));
    let options = [
        "-F",
        "none",
        "-i",
        &user_key,
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        &known,
        "-o",
        "BatchMode=yes",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "ConnectTimeout=4",
    ];
    let there = format!("root@{}", server.v4);
    let said = bench.ok(
        client,
        &[&["ssh"], &options[..], &[&there, "echo $((40+2)) on $(hostname)"]].concat(),
        30,
    )?;
    if said.trim() != format!("42 on {}", server.name) {
        bail!("ssh: {}", said.trim());
    }
    let octets = bench.choose(16 << 20, 64 << 20);
    let file = bench.random("file", octets)?;
    let remote = |name: &str| format!("{there}:{}", bench.file(name));
    let begin = std::time::Instant::now();
    for (from, to) in [(file.clone(), remote("went")), (remote("went"), bench.file("came"))] {
        bench.ok(client, &[&["scp"], &options[..], &[&from, &to]].concat(), 60)?;
    }
    bench.same("file", "went")?;
    let mut all = 2 * bench.same("file", "came")?;
    let [put, got] = ["put", "got"].map(|name| bench.file(name));
    let batch = bench.write("batch", format!("put {file} {put}\nget {put} {got}\n"))?;
    bench.ok(client, &[&["sftp", "-b", &batch], &options[..], &[&there]].concat(), 60)?;
    all += 2 * bench.same("file", "got")?;
    Ok(format!("{} MiB the same, {}", all >> 20, rate(all, begin)))
}
