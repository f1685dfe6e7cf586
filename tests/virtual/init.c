/* The first process of the virtual machine: loads modules, mounts the host's file tree read-only, and runs a command in it.

   /modules   one module a line, in order: a path, and parameters after a blank
   /command   the folder to run in, then the program and its arguments, one a line */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int result, const char *what) {
  if (result == 0)
    return;
  perror(what);
  reboot(RB_POWER_OFF);
  exit(1);
}

static void load_modules(void) {
  char line[512];
  FILE *list = fopen("/modules", "r");
  while (list && fgets(line, sizeof line, list)) {
    line[strcspn(line, "\n")] = 0;
    char *parameters = strchr(line, ' ');
    if (parameters)
      *parameters++ = 0;
    int file = open(line, O_RDONLY);
    need(file < 0 || syscall(SYS_finit_module, file, parameters ? parameters : "", 0), line);
    close(file);
  }
}

static void run(void) {
  static char text[4096], *arguments[64];
  char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
                         "PYTHONUNBUFFERED=1", 0};
  int count = 0, file = open("/command", O_RDONLY);
  need(read(file, text, sizeof text - 1) <= 0, "/command");
  for (char *word = strtok(text, "\n"); word && count < 63; word = strtok(0, "\n"))
    arguments[count++] = word;
  need(chroot("/host") || chdir(arguments[0]), "chroot");
  execve(arguments[1], arguments + 1, environment);
  need(1, arguments[1]);
}

int main(void) {
  need(mount("proc", "/proc", "proc", 0, 0), "/proc");
  load_modules();
  need(mount("host", "/host", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=524288,cache=loose"), "/host");
  need(mount("dev", "/host/dev", "devtmpfs", 0, 0), "/host/dev");
  need(mount("proc", "/host/proc", "proc", 0, 0), "/host/proc");
  need(mount("sys", "/host/sys", "sysfs", 0, 0), "/host/sys");
  if (fork() == 0)
    run();
  wait(0);
  reboot(RB_POWER_OFF);
  return 0;
}
