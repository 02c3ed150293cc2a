package link

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Check says whether this process, or one that called EnterNamespaces, can make a
// link. The error is one line with the remedy.
func Check() error {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return whyNoTUN(err)
	}
	unix.Close(fd)
	if privileged() {
		return tryNamespace()
	}
	return tryUserNamespace()
}

// CheckCC says whether TCP can have a congestion control, "" being DefaultCC, as
// far as that is known before there is a link: a namespace of an unprivileged
// user's may be allowed what the user is not.
func CheckCC(name string) error {
	err := tryCC(cmp.Or(name, DefaultCC))
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	return err
}

// privileged says whether the process may make network namespaces itself and set
// them up.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	const need = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN
	return unix.Capget(&header, &sets[0]) == nil && sets[0].Effective&need == need
}

// tryNamespace makes a network namespace and forgets it.
func tryNamespace() error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return whyNoNamespace(err, sysctlRoot)
		}
		return nil
	})
}

// tryUserNamespace goes as far as a process in a user namespace that is about to
// run a program. The program does not exist, so nothing runs.
func tryUserNamespace() error {
	cmd := exec.Command("/dev/null/none")
	cmd.SysProcAttr = inNamespaces()
	cmd.SysProcAttr.Chroot = "/" // needs a capability, which AppArmor may deny to root there
	err := cmd.Start()
	if errors.Is(err, unix.ENOTDIR) { // the error of the last step
		return nil
	}
	if err == nil {
		cmd.Wait()
		return errors.New("link: a program ran that cannot exist")
	}
	return whyNoUserNamespace(err, sysctlRoot)
}

// inNamespaces are for a process that is root in a user namespace and has a
// network namespace in it. It is killed when the thread that started it ends.
func inNamespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
}

func whyNoTUN(err error) error {
	remedy := "it cannot be opened"
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		remedy = "the kernel lacks the tun module: run \"modprobe tun\" as root (in a container, pass the device with --device=" + tunPath + ")"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		remedy = "this user may not open it: run as root, or let root run \"chmod 0666 " + tunPath + "\" (in a container, pass it with --device=" + tunPath + ")"
	}
	return fmt.Errorf("link: %s: %w; %s", tunPath, err, remedy)
}

func whyNoNamespace(err error, root string) error {
	return fmt.Errorf("link: the kernel refuses a network namespace: %w; %s", err,
		remedy(err, root, "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN (in a container, with --privileged)"))
}

func whyNoUserNamespace(err error, root string) error {
	return fmt.Errorf("link: the kernel refuses user %d a user namespace: %w; %s", os.Geteuid(), err,
		remedy(err, root, "run as root (in a container, with --privileged, which lifts its seccomp profile)"))
}

// sysctlRoot is where the kernel shows its settings.
const sysctlRoot = "/proc/sys"

// forbidding are settings by which namespaces are forbidden, with the value that
// does it and one that allows them.
var forbidding = []struct{ name, forbids, allows string }{
	{"user.max_user_namespaces", "0", "15000"},
	{"user.max_net_namespaces", "0", "15000"},
	{"kernel.unprivileged_userns_clone", "0", "1"},
	{"kernel.apparmor_restrict_unprivileged_userns", "1", "0"},
}

// remedy is the commands that change what forbids namespaces, by the settings
// below root, or otherwise what is said if there are none.
func remedy(err error, root, otherwise string) string {
	var commands []string
	for _, s := range forbidding {
		b, err := os.ReadFile(root + "/" + strings.ReplaceAll(s.name, ".", "/"))
		if err == nil && strings.TrimSpace(string(b)) == s.forbids {
			commands = append(commands, "sysctl -w "+s.name+"="+s.allows)
		}
	}
	if len(commands) > 0 {
		return "let root run \"" + strings.Join(commands, "; ") + "\""
	}
	if errors.Is(err, unix.ENOSPC) { // the kernel's word for a limit that is reached
		return "there are too many: let root raise user.max_user_namespaces and user.max_net_namespaces with sysctl -w"
	}
	return otherwise
}
