/* Numbers of system calls. One that this architecture has not (arm64: open, unlink ...) gets a number that no call has. */
#ifndef FIREBREAK_NUMBERS_H
#define FIREBREAK_NUMBERS_H

#include <asm/unistd.h>

/* Newer than the headers of some systems; the same number on every architecture. */
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

#ifdef __NR_accept
#define FB_NR_accept __NR_accept
#else
#define FB_NR_accept -1000
#endif
#ifdef __NR_accept4
#define FB_NR_accept4 __NR_accept4
#else
#define FB_NR_accept4 -1001
#endif
#ifdef __NR_bpf
#define FB_NR_bpf __NR_bpf
#else
#define FB_NR_bpf -1002
#endif
#ifdef __NR_capset
#define FB_NR_capset __NR_capset
#else
#define FB_NR_capset -1003
#endif
#ifdef __NR_chmod
#define FB_NR_chmod __NR_chmod
#else
#define FB_NR_chmod -1004
#endif
#ifdef __NR_chown
#define FB_NR_chown __NR_chown
#else
#define FB_NR_chown -1005
#endif
#ifdef __NR_chroot
#define FB_NR_chroot __NR_chroot
#else
#define FB_NR_chroot -1006
#endif
#ifdef __NR_close
#define FB_NR_close __NR_close
#else
#define FB_NR_close -1007
#endif
#ifdef __NR_creat
#define FB_NR_creat __NR_creat
#else
#define FB_NR_creat -1008
#endif
#ifdef __NR_delete_module
#define FB_NR_delete_module __NR_delete_module
#else
#define FB_NR_delete_module -1009
#endif
#ifdef __NR_dup2
#define FB_NR_dup2 __NR_dup2
#else
#define FB_NR_dup2 -1010
#endif
#ifdef __NR_dup3
#define FB_NR_dup3 __NR_dup3
#else
#define FB_NR_dup3 -1011
#endif
#ifdef __NR_fchmod
#define FB_NR_fchmod __NR_fchmod
#else
#define FB_NR_fchmod -1012
#endif
#ifdef __NR_fchmodat
#define FB_NR_fchmodat __NR_fchmodat
#else
#define FB_NR_fchmodat -1013
#endif
#ifdef __NR_fchmodat2
#define FB_NR_fchmodat2 __NR_fchmodat2
#else
#define FB_NR_fchmodat2 -1014
#endif
#ifdef __NR_fchown
#define FB_NR_fchown __NR_fchown
#else
#define FB_NR_fchown -1015
#endif
#ifdef __NR_fchownat
#define FB_NR_fchownat __NR_fchownat
#else
#define FB_NR_fchownat -1016
#endif
#ifdef __NR_finit_module
#define FB_NR_finit_module __NR_finit_module
#else
#define FB_NR_finit_module -1017
#endif
#ifdef __NR_fremovexattr
#define FB_NR_fremovexattr __NR_fremovexattr
#else
#define FB_NR_fremovexattr -1018
#endif
#ifdef __NR_fsetxattr
#define FB_NR_fsetxattr __NR_fsetxattr
#else
#define FB_NR_fsetxattr -1019
#endif
#ifdef __NR_init_module
#define FB_NR_init_module __NR_init_module
#else
#define FB_NR_init_module -1020
#endif
#ifdef __NR_lchown
#define FB_NR_lchown __NR_lchown
#else
#define FB_NR_lchown -1021
#endif
#ifdef __NR_link
#define FB_NR_link __NR_link
#else
#define FB_NR_link -1022
#endif
#ifdef __NR_linkat
#define FB_NR_linkat __NR_linkat
#else
#define FB_NR_linkat -1023
#endif
#ifdef __NR_lremovexattr
#define FB_NR_lremovexattr __NR_lremovexattr
#else
#define FB_NR_lremovexattr -1024
#endif
#ifdef __NR_lsetxattr
#define FB_NR_lsetxattr __NR_lsetxattr
#else
#define FB_NR_lsetxattr -1025
#endif
#ifdef __NR_memfd_create
#define FB_NR_memfd_create __NR_memfd_create
#else
#define FB_NR_memfd_create -1026
#endif
#ifdef __NR_mkdir
#define FB_NR_mkdir __NR_mkdir
#else
#define FB_NR_mkdir -1027
#endif
#ifdef __NR_mkdirat
#define FB_NR_mkdirat __NR_mkdirat
#else
#define FB_NR_mkdirat -1028
#endif
#ifdef __NR_mknod
#define FB_NR_mknod __NR_mknod
#else
#define FB_NR_mknod -1029
#endif
#ifdef __NR_mknodat
#define FB_NR_mknodat __NR_mknodat
#else
#define FB_NR_mknodat -1030
#endif
#ifdef __NR_mount
#define FB_NR_mount __NR_mount
#else
#define FB_NR_mount -1031
#endif
#ifdef __NR_move_mount
#define FB_NR_move_mount __NR_move_mount
#else
#define FB_NR_move_mount -1032
#endif
#ifdef __NR_open
#define FB_NR_open __NR_open
#else
#define FB_NR_open -1033
#endif
#ifdef __NR_openat
#define FB_NR_openat __NR_openat
#else
#define FB_NR_openat -1034
#endif
#ifdef __NR_openat2
#define FB_NR_openat2 __NR_openat2
#else
#define FB_NR_openat2 -1035
#endif
#ifdef __NR_pivot_root
#define FB_NR_pivot_root __NR_pivot_root
#else
#define FB_NR_pivot_root -1036
#endif
#ifdef __NR_process_vm_writev
#define FB_NR_process_vm_writev __NR_process_vm_writev
#else
#define FB_NR_process_vm_writev -1037
#endif
#ifdef __NR_ptrace
#define FB_NR_ptrace __NR_ptrace
#else
#define FB_NR_ptrace -1038
#endif
#ifdef __NR_recvfrom
#define FB_NR_recvfrom __NR_recvfrom
#else
#define FB_NR_recvfrom -1039
#endif
#ifdef __NR_recvmmsg
#define FB_NR_recvmmsg __NR_recvmmsg
#else
#define FB_NR_recvmmsg -1040
#endif
#ifdef __NR_recvmsg
#define FB_NR_recvmsg __NR_recvmsg
#else
#define FB_NR_recvmsg -1041
#endif
#ifdef __NR_removexattr
#define FB_NR_removexattr __NR_removexattr
#else
#define FB_NR_removexattr -1042
#endif
#ifdef __NR_rename
#define FB_NR_rename __NR_rename
#else
#define FB_NR_rename -1043
#endif
#ifdef __NR_renameat
#define FB_NR_renameat __NR_renameat
#else
#define FB_NR_renameat -1044
#endif
#ifdef __NR_renameat2
#define FB_NR_renameat2 __NR_renameat2
#else
#define FB_NR_renameat2 -1045
#endif
#ifdef __NR_rmdir
#define FB_NR_rmdir __NR_rmdir
#else
#define FB_NR_rmdir -1046
#endif
#ifdef __NR_sendmmsg
#define FB_NR_sendmmsg __NR_sendmmsg
#else
#define FB_NR_sendmmsg -1047
#endif
#ifdef __NR_sendmsg
#define FB_NR_sendmsg __NR_sendmsg
#else
#define FB_NR_sendmsg -1048
#endif
#ifdef __NR_sendto
#define FB_NR_sendto __NR_sendto
#else
#define FB_NR_sendto -1049
#endif
#ifdef __NR_setfsgid
#define FB_NR_setfsgid __NR_setfsgid
#else
#define FB_NR_setfsgid -1050
#endif
#ifdef __NR_setfsuid
#define FB_NR_setfsuid __NR_setfsuid
#else
#define FB_NR_setfsuid -1051
#endif
#ifdef __NR_setgid
#define FB_NR_setgid __NR_setgid
#else
#define FB_NR_setgid -1052
#endif
#ifdef __NR_setgroups
#define FB_NR_setgroups __NR_setgroups
#else
#define FB_NR_setgroups -1053
#endif
#ifdef __NR_setns
#define FB_NR_setns __NR_setns
#else
#define FB_NR_setns -1054
#endif
#ifdef __NR_setregid
#define FB_NR_setregid __NR_setregid
#else
#define FB_NR_setregid -1055
#endif
#ifdef __NR_setresgid
#define FB_NR_setresgid __NR_setresgid
#else
#define FB_NR_setresgid -1056
#endif
#ifdef __NR_setresuid
#define FB_NR_setresuid __NR_setresuid
#else
#define FB_NR_setresuid -1057
#endif
#ifdef __NR_setreuid
#define FB_NR_setreuid __NR_setreuid
#else
#define FB_NR_setreuid -1058
#endif
#ifdef __NR_setuid
#define FB_NR_setuid __NR_setuid
#else
#define FB_NR_setuid -1059
#endif
#ifdef __NR_setxattr
#define FB_NR_setxattr __NR_setxattr
#else
#define FB_NR_setxattr -1060
#endif
#ifdef __NR_symlink
#define FB_NR_symlink __NR_symlink
#else
#define FB_NR_symlink -1061
#endif
#ifdef __NR_symlinkat
#define FB_NR_symlinkat __NR_symlinkat
#else
#define FB_NR_symlinkat -1062
#endif
#ifdef __NR_truncate
#define FB_NR_truncate __NR_truncate
#else
#define FB_NR_truncate -1063
#endif
#ifdef __NR_umount2
#define FB_NR_umount2 __NR_umount2
#else
#define FB_NR_umount2 -1064
#endif
#ifdef __NR_unlink
#define FB_NR_unlink __NR_unlink
#else
#define FB_NR_unlink -1065
#endif
#ifdef __NR_unlinkat
#define FB_NR_unlinkat __NR_unlinkat
#else
#define FB_NR_unlinkat -1066
#endif
#ifdef __NR_unshare
#define FB_NR_unshare __NR_unshare
#else
#define FB_NR_unshare -1067
#endif

#endif
