/* Connections, flows, names asked. */
#ifndef FIREBREAK_SOCKETS_H
#define FIREBREAK_SOCKETS_H

#include "syscalls.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define S_IFSOCK 0140000
#define DNS_PORT 53
#define SOCK_DONE 1 /* the peer's FIN came */
enum { ESTABLISHED = 1, SYN_SENT = 2, SYN_RECV = 3, FIN_WAIT2 = 5, TIME_WAIT = 6, CLOSED = 7, /* 8: CLOSE_WAIT */ LAST_ACK = 9, LISTEN = 10, CLOSING = 11 };

/* A socket and whose it is, by its address, from connect, accept or listen until it is closed. */
struct owned {
	__u64 id;
	__u64 since_ns;
	__u64 active; /* 1: it called connect */
	struct fb_header owner; /* owner.pid 0: not known yet */
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct owned);
} owned_sockets SEC(".maps");

struct flow {
	__u64 socket; /* inode number of the socket: never the same again */
	__u8 address[16];
	__u16 port;
	__u16 family;
	__u32 reserved;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow);
	__type(value, __u64);
} flows SEC(".maps");

/* Room for struct owned, which is too large for a second one on the stack; 0: state changes (softirq), 1: accept. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct owned);
} owned_room SEC(".maps");

struct socket_record {
	struct fb_header header;
	struct fb_socket body;
	__u32 stored, total;
};
_Static_assert(sizeof(struct socket_record) == 256, "no padding");
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct socket_record);
} socket_room SEC(".maps");

static __always_inline __u64 new_id(__u64 now)
{
	/* Unique while the sensor runs: a time of this CPU. */
	return now << 8 ^ (bpf_get_smp_processor_id() & 0xff);
}

static __always_inline int fill_socket(struct fb_socket *body, const struct sock *sk)
{
	__builtin_memset(body, 0, sizeof(*body));
	body->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	body->protocol = BPF_CORE_READ(sk, sk_protocol);
	body->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	/* A socket that is closing has given its number back. */
	if (!body->local_port)
		body->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	body->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	body->net_ns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if (body->family == AF_INET) {
		__be32 local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		__be32 remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);

		__builtin_memcpy(body->local_address, &local, 4);
		__builtin_memcpy(body->remote_address, &remote, 4);
	} else if (body->family == AF_INET6) {
		BPF_CORE_READ_INTO(&body->local_address, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&body->remote_address, sk, __sk_common.skc_v6_daddr);
	} else {
		return 0;
	}
	return 1;
}

static __always_inline void submit_socket(struct socket_record *record, __u16 kind, __u32 flags)
{
	stamp(&record->header, kind, FB_CLASS_NETWORK, flags);
	record->stored = 0;
	record->total = 0;
	submit(record, sizeof(*record), FB_CLASS_NETWORK);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_tcp_state, const struct sock *sk, int old, int new)
{
	__u64 key = (__u64)sk, now;
	struct socket_record *record;
	struct owned *owned;
	__u32 room = 0, flags = 0;
	__u16 kind;

	if (!(settings.switches & FB_SWITCH_NETWORK) || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	if (new == SYN_SENT)
		kind = FB_TCP_CONNECT;
	else if (new == LISTEN)
		kind = FB_TCP_LISTEN;
	else if (old == SYN_SENT && new == ESTABLISHED)
		kind = FB_TCP_ESTABLISHED;
	else if (new == CLOSED)
		kind = FB_TCP_CLOSE;
	else if (old == SYN_RECV && new == ESTABLISHED)
		kind = 0; /* told by accept(2), when it has an owner */
	else
		return 0;
	record = bpf_map_lookup_elem(&socket_room, &room);
	owned = bpf_map_lookup_elem(&owned_room, &room);
	if (!record || !owned)
		return 0;
	now = bpf_ktime_get_boot_ns();
	if (kind == FB_TCP_CONNECT || kind == FB_TCP_LISTEN || kind == 0) {
		owned->id = new_id(now);
		owned->since_ns = now;
		owned->active = kind == FB_TCP_CONNECT;
		owned->owner.pid = 0;
		if (kind && !fill_actor(&owned->owner, current_task()))
			return 0;
		bpf_map_update_elem(&owned_sockets, &key, owned, BPF_ANY);
		if (!kind)
			return 0;
	} else {
		owned = bpf_map_lookup_elem(&owned_sockets, &key);
	}
	if (!fill_socket(&record->body, sk))
		return 0;
	if (owned && owned->owner.pid) {
		record->header = owned->owner;
	} else {
		/* Open before the sensor was, or nobody accepted it. Told without a name where it is in the sensor's own network. */
		if (record->body.net_ns != own_net_ns || old == SYN_RECV)
			goto forget;
		__builtin_memset(&record->header, 0, sizeof(record->header));
		flags = FB_NO_ACTOR;
	}
	record->body.old_state = old;
	if (owned) {
		record->body.socket_id = owned->id;
		record->body.duration_ns = now - owned->since_ns;
	}
	if (kind == FB_TCP_CLOSE && old != LISTEN) {
		struct tcp_sock *tcp = (struct tcp_sock *)sk;
		__u64 sent = BPF_CORE_READ(tcp, bytes_acked), received = BPF_CORE_READ(tcp, bytes_received);

		/* SYN and FIN count as a byte each where they were acknowledged. */
		if (owned && owned->active && sent > 0)
			sent--;
		if ((old == FIN_WAIT2 || old == CLOSING || old == LAST_ACK || old == TIME_WAIT) && sent > 0)
			sent--;
		if (BPF_CORE_READ(sk, __sk_common.skc_flags) & 1ul << SOCK_DONE && received > 0)
			received--;
		record->body.bytes_sent = sent;
		record->body.bytes_received = received;
		record->body.error = BPF_CORE_READ(sk, sk_err);
	}
	submit_socket(record, kind, flags);
forget:
	if (kind == FB_TCP_CLOSE)
		bpf_map_delete_elem(&owned_sockets, &key);
	return 0;
}

static __always_inline struct sock *socket_at(long fd, struct file **file)
{
	struct socket *socket;
	*file = file_at(current_task(), fd);

	if (!*file || (BPF_CORE_READ(*file, f_inode, i_mode) & 0170000) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(*file, private_data);
	return BPF_CORE_READ(socket, sk);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_accept, struct pt_regs *regs, long result)
{
	struct socket_record *record;
	struct owned *owned, *known;
	struct file *file;
	struct sock *sk;
	__u64 key;
	__u32 room = 1;

	if (result < 0 || is_foreign_call())
		return 0;
	sk = socket_at(result, &file);
	if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	record = bpf_map_lookup_elem(&socket_room, &room);
	owned = bpf_map_lookup_elem(&owned_room, &room);
	if (!record || !owned || !fill_socket(&record->body, sk) || !fill_actor(&record->header, current_task()))
		return 0;
	key = (__u64)sk;
	owned->owner = record->header;
	known = bpf_map_lookup_elem(&owned_sockets, &key);
	owned->since_ns = known ? known->since_ns : bpf_ktime_get_boot_ns();
	owned->active = 0;
	owned->id = known ? known->id : new_id(owned->since_ns);
	record->body.socket_id = owned->id;
	bpf_map_update_elem(&owned_sockets, &key, owned, BPF_ANY);
	submit_socket(record, FB_TCP_ACCEPT, 0);
	return 0;
}

struct peer {
	__u8 address[16];
	__u16 port;
	__u16 family;
};

/* struct sockaddr_in, sockaddr_in6 of a program. */
static __always_inline int read_peer(struct peer *peer, const void *from, __u32 length)
{
	__u8 raw[28] = {};

	if (!from || length < 16 || bpf_probe_read_user(raw, 16, from))
		return 0;
	peer->family = *(__u16 *)raw;
	peer->port = (__u16)raw[2] << 8 | raw[3];
	if (peer->family == AF_INET) {
		__builtin_memcpy(peer->address, raw + 4, 4);
		return 1;
	}
	if (peer->family != AF_INET6 || length < 24 || bpf_probe_read_user(raw, 28, from))
		return 0;
	__builtin_memcpy(peer->address, raw + 8, 16);
	return 1;
}

static __always_inline void use_peer(struct fb_socket *body, const struct peer *peer)
{
	/* An IPv6 socket may speak IPv4: ::ffff:a.b.c.d stays as it is. */
	__builtin_memcpy(body->remote_address, peer->address, 16);
	body->remote_port = peer->port;
}

/* First to this peer: a flow. To or from port 53: the datagram itself. */
__noinline int tell_datagram(__u32 user, __u32 fd, __u32 sent)
{
	struct task_struct *task = current_task();
	struct scratch *s = scratch_of(user);
	struct datagram *datagram;
	struct fb_header *header;
	struct fb_socket *body;
	struct flow flow = {};
	struct peer peer = {};
	struct file *file;
	struct sock *sk;
	__u64 now;
	__u32 at;

	if (!s)
		return 0;
	datagram = &s->datagram;
	sk = socket_at(fd, &file);
	if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP)
		return 0;
	header = (void *)s->record;
	body = (void *)(s->record + sizeof(*header));
	if (!fill_socket(body, sk))
		return 0;
	if (read_peer(&peer, datagram->name, datagram->name_length))
		use_peer(body, &peer);
	if (!body->remote_port)
		return 0;
	if (!sent && body->remote_port != DNS_PORT)
		return 0;
	flow.socket = BPF_CORE_READ(file, f_inode, i_ino);
	body->socket_id = flow.socket;
	if (!fill_actor(header, task))
		return 0;
	at = sizeof(*header) + sizeof(*body);
	now = bpf_ktime_get_boot_ns();
	if (sent && settings.switches & FB_SWITCH_NETWORK) {
		__builtin_memcpy(flow.address, body->remote_address, 16);
		flow.port = body->remote_port;
		flow.family = body->family;
		if (!bpf_map_update_elem(&flows, &flow, &now, BPF_NOEXIST)) {
			stamp(header, FB_UDP_FLOW, FB_CLASS_NETWORK, 0);
			put_empty(s, at);
			submit(s->record, at + 8, FB_CLASS_NETWORK);
		}
	}
	if (settings.switches & FB_SWITCH_DNS && body->remote_port == DNS_PORT && !is_excluded()) {
		__u32 stored = min_of(datagram->bytes, datagram->length);

		if (stored > FB_DNS_MAX)
			stored = FB_DNS_MAX;
		if (bpf_probe_read_user(&s->record[(at + 8) & SCRATCH_MASK], stored & 0x3ff, datagram->data))
			stored = 0;
		if (sent)
			body->bytes_sent = datagram->bytes;
		else
			body->bytes_received = datagram->bytes;
		stamp(header, sent ? FB_DNS_SENT : FB_DNS_RECEIVED, FB_CLASS_NETWORK, 0);
		put_lengths(s, at, stored, datagram->bytes);
		submit(s->record, (at + 8 + stored) & SCRATCH_MASK, FB_CLASS_NETWORK);
	}
	return 0;
}

static __always_inline int read_message(struct datagram *datagram, const void *from)
{
	struct user_msghdr message = {};
	struct user_iovec first = {};

	if (bpf_probe_read_user(&message, sizeof(message), from))
		return 0;
	if (message.iov_count > 0)
		bpf_probe_read_user(&first, sizeof(first), (void *)message.iov);
	datagram->name = (void *)message.name;
	datagram->name_length = message.name_length;
	datagram->data = (void *)first.base;
	datagram->length = first.length;
	return 1;
}

/* glibc asks for A and AAAA in one call. */
#define MESSAGES_MAX 4

__noinline int tell_messages(__u32 user, __u32 fd, __u64 vector, __u32 count, __u32 sent)
{
	struct scratch *s = scratch_of(user);

	if (!s)
		return 0;
	for (int i = 0; i < MESSAGES_MAX; i++) {
		struct datagram datagram = {};
		const struct user_mmsghdr *message = (const struct user_mmsghdr *)vector + i;
		__u32 length = 0;

		if (i >= (int)count || !read_message(&datagram, &message->header))
			break;
		bpf_probe_read_user(&length, sizeof(length), &message->length);
		datagram.bytes = length;
		s->datagram = datagram;
		tell_datagram(user, fd, sent);
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_send, struct pt_regs *regs, long result)
{
	long number = NUMBER_OF(regs), fd = (__u32)ARG0(regs);
	struct datagram datagram = {};
	struct scratch *s;

	if (result < 0 || is_foreign_call())
		return 0;
	s = scratch_of(SCRATCH_EXIT);
	if (!s)
		return 0;
	datagram.bytes = result;
	if (number == FB_NR_sendto) {
		datagram.data = (void *)ARG1(regs);
		datagram.length = ARG2(regs);
		datagram.name = (void *)ARG4(regs);
		datagram.name_length = 28;
		s->datagram = datagram;
		tell_datagram(SCRATCH_EXIT, fd, 1);
		return 0;
	}
	if (number == FB_NR_sendmsg && read_message(&datagram, (void *)ARG1(regs))) {
		s->datagram = datagram;
		tell_datagram(SCRATCH_EXIT, fd, 1);
	} else if (number == FB_NR_sendmmsg) {
		tell_messages(SCRATCH_EXIT, fd, ARG1(regs), result, 1);
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_receive, struct pt_regs *regs, long result)
{
	long number = NUMBER_OF(regs), fd = (__u32)ARG0(regs);
	struct datagram datagram = {};
	struct scratch *s;

	if (result <= 0 || is_foreign_call())
		return 0;
	s = scratch_of(SCRATCH_EXIT);
	if (!s)
		return 0;
	datagram.bytes = result;
	if (number == FB_NR_recvfrom) {
		datagram.data = (void *)ARG1(regs);
		datagram.length = ARG2(regs);
		datagram.name = (void *)ARG4(regs);
		datagram.name_length = 28;
		s->datagram = datagram;
		tell_datagram(SCRATCH_EXIT, fd, 0);
		return 0;
	}
	if (number == FB_NR_recvmsg && read_message(&datagram, (void *)ARG1(regs))) {
		s->datagram = datagram;
		tell_datagram(SCRATCH_EXIT, fd, 0);
	} else if (number == FB_NR_recvmmsg) {
		tell_messages(SCRATCH_EXIT, fd, ARG1(regs), result, 0);
	}
	return 0;
}

#endif
