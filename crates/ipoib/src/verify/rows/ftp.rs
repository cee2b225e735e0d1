//! T9: FTP, passive and active.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rustix::process::geteuid;

use super::super::{
    bench::{Bench, rate},
    row::LeftOut,
};

/// What every vsftpd of ours has: nobody but guests, who see one directory and may write into another below it.
pub(super) fn config(bench: &Bench<'_>, listen: bool) -> Result<String> {
    if !geteuid().is_root() {
        return Err(LeftOut("vsftpd changes its user: run it as root".into()).into());
    }
    for dir in ["ftp/in", "empty"] {
        fs::create_dir_all(bench.path(dir))?;
    }
    fs::set_permissions(bench.path("ftp/in"), fs::Permissions::from_mode(0o777))?;
    let (root, empty) = (bench.file("ftp"), bench.file("empty"));
    let listen =
        if listen { "listen=YES\nlisten_ipv6=NO\nbackground=NO\n" } else { "listen=NO\nlisten_ipv6=NO\n" };
    Ok(format!(
        "{listen}anonymous_enable=YES\nlocal_enable=NO\nno_anon_password=YES\nanon_root={root}\nwrite_enable=YES\n\
         anon_upload_enable=YES\nanon_umask=022\nsecure_chroot_dir={empty}\nport_enable=YES\npasv_enable=YES\n\
         connect_from_port_20=YES\nxferlog_enable=NO\nseccomp_sandbox=NO\n"
    ))
}

/// T9: get and put, passive; get, active.
pub(in super::super) fn both_modes(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let file = bench.write("vsftpd.conf", config(bench, true)?)?;
    let octets = bench.choose(16 << 20, 64 << 20);
    bench.random("ftp/large", octets)?;
    bench.random("upload", 5 << 20)?;
    let _server = bench.serve(server, ("tcp", 21), &["vsftpd", &file])?;
    let script = format!(
        "open {}\nuser anonymous guest\nbinary\nget large passive\ncd in\nput upload came\ncd ..\npassive off\n\
         get large active\nquit\n",
        server.v4
    );
    bench.write("script", script)?;
    let begin = Instant::now();
    let ftp = bench.spawn_reading(client, &["tnftp", "-n", "-v", "-q", "5"], "script")?;
    let said = ftp.finish(bench.limit(Duration::from_secs(60)))?.said();
    if !said.contains("PASV") && !said.contains("Passive")
        || !said.contains("PORT command") && !said.contains("EPRT command")
    {
        bail!("not both modes: {}", said.trim().replace('\n', " | "));
    }
    let mut all = bench.same("passive", "ftp/large")?;
    all += bench.same("active", "ftp/large")?;
    all += bench.same("ftp/in/came", "upload")?;
    Ok(format!("{} MiB the same, {}", all >> 20, rate(all, begin)))
}
