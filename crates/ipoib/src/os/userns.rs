//! The rights to make hosts: root's, or those of a user namespace of our own.
#![expect(unsafe_code, reason = "unshare can take descriptors from other threads; there are none")]

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    io::Errno,
    process::{getegid, geteuid},
    thread::{CapabilitySet, UnshareFlags, capabilities, unshare_unsafe},
};

/// Where the rights to make hosts come from.
#[derive(Debug)]
pub enum Privilege {
    /// We had them.
    Root,
    /// We entered a user namespace in which we are root.
    UserNamespace {
        /// The namespace, for processes that are to join us.
        fd: OwnedFd,
        /// Who we are outside.
        uid: u32,
        /// Our group outside.
        gid: u32,
    },
}

impl Privilege {
    /// The user namespace we made, if we made one.
    pub fn user_namespace(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Root => None,
            Self::UserNamespace { fd, .. } => Some(fd.as_fd()),
        }
    }
}

/// Why we may not make hosts, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The system forbids user namespaces.
    #[error("user namespaces are not allowed here: {hint}, or run as root")]
    Forbidden {
        /// The setting to change.
        hint: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A step on the way failed for another reason.
    #[error("cannot enter a user namespace: {step}")]
    Failed {
        /// The step.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Sees to it that this process may make namespaces and interfaces: does nothing as root, else enters a user
/// namespace. Call it in `main` before any thread exists: a process with threads may not change its own.
pub fn enter_if_needed() -> Result<Privilege, PrivilegeError> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() && may_make_hosts() {
        return Ok(Privilege::Root);
    }
    // SAFETY: only FILES could affect other threads' descriptors, and it is not asked for.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.map_err(not_entered)?;
    map("/proc/self/setgroups", "deny")?;
    map("/proc/self/uid_map", &format!("0 {} 1", uid.as_raw()))?;
    map("/proc/self/gid_map", &format!("0 {} 1", gid.as_raw()))?;
    let fd = fs::File::open("/proc/self/ns/user")
        .map_err(|source| PrivilegeError::Failed { step: "open /proc/self/ns/user", source })?;
    Ok(Privilege::UserNamespace { fd: fd.into(), uid: uid.as_raw(), gid: gid.as_raw() })
}

fn may_make_hosts() -> bool {
    let wanted = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

fn not_entered(error: Errno) -> PrivilegeError {
    let source = io::Error::from(error);
    match error {
        Errno::PERM | Errno::NOSPC | Errno::USERS | Errno::NOSYS => {
            PrivilegeError::Forbidden { hint: hint(Path::new("/proc/sys")), source }
        }
        Errno::INVAL => {
            PrivilegeError::Failed { step: "unshare (threads already run, or no kernel support)", source }
        }
        _ => PrivilegeError::Failed { step: "unshare", source },
    }
}

/// Where AppArmor restricts user namespaces, making one works and these writes are the first thing refused.
fn map(file: &'static str, text: &str) -> Result<(), PrivilegeError> {
    fs::write(file, text).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => {
            PrivilegeError::Forbidden { hint: hint(Path::new("/proc/sys")), source }
        }
        _ => PrivilegeError::Failed { step: file, source },
    })
}

/// Names the setting below `sysctls` that is in the way.
fn hint(sysctls: &Path) -> String {
    let is = |name: &str, wanted: &str| {
        fs::read_to_string(sysctls.join(name)).is_ok_and(|value| value.trim() == wanted)
    };
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor restricts them: `sysctl kernel.apparmor_restrict_unprivileged_userns=0` or give ipoib a profile \
         with `userns,`"
    } else if is("kernel/unprivileged_userns_clone", "0") {
        "`sysctl kernel.unprivileged_userns_clone=1`"
    } else if is("user/max_user_namespaces", "0") {
        "`sysctl user.max_user_namespaces=10000`"
    } else {
        "a container or security policy forbids them (in a container: --security-opt seccomp=unconfined or \
         --privileged)"
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_setting_that_is_in_the_way() {
        let root = std::env::temp_dir().join(format!("ipoib-hint-{}", std::process::id()));
        fs::create_dir_all(root.join("kernel")).unwrap();
        fs::create_dir_all(root.join("user")).unwrap();
        assert!(hint(&root).contains("container"));
        fs::write(root.join("user/max_user_namespaces"), "0\n").unwrap();
        assert!(hint(&root).contains("user.max_user_namespaces"));
        fs::write(root.join("kernel/unprivileged_userns_clone"), "0\n").unwrap();
        assert!(hint(&root).contains("unprivileged_userns_clone=1"));
        fs::write(root.join("kernel/apparmor_restrict_unprivileged_userns"), "1\n").unwrap();
        assert!(hint(&root).contains("AppArmor"));
        fs::remove_dir_all(root).unwrap();
    }
}
