/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The work of jail-epair-up(8) and jail-epair-down(8) and nothing else: no check,
 * no message, nothing taken back. What they cost more than this is what their
 * checks cost; see share/bench/freebsd.sh.
 *
 *	pair up bridge name epairN
 *	pair down epairN
 */

#include <sys/param.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sockio.h>

#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_bridgevar.h>

#include <err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int s;

static void
request(unsigned long number, const char *what, void *argument)
{
	if (ioctl(s, number, argument) == -1)
		err(1, "%s", what);
}

static struct ifreq
of(const char *name)
{
	struct ifreq ifr;

	memset(&ifr, 0, sizeof(ifr));
	strlcpy(ifr.ifr_name, name, sizeof(ifr.ifr_name));
	return (ifr);
}

static void
half(const char *name, const char *text, int mtu, unsigned char last)
{
	const unsigned char mac[ETHER_ADDR_LEN] = { 0x02, 0x00, 0x5e, 0x10, 0x00, last };
	struct ifgroupreq ifgr;
	struct ifreq ifr;

	ifr = of(name);
	ifr.ifr_buffer.buffer = (void *)(uintptr_t)text;
	ifr.ifr_buffer.length = strlen(text) + 1;
	request(SIOCSIFDESCR, "describe", &ifr);
	memset(&ifgr, 0, sizeof(ifgr));
	strlcpy(ifgr.ifgr_name, name, sizeof(ifgr.ifgr_name));
	strlcpy(ifgr.ifgr_group, "thinjail", sizeof(ifgr.ifgr_group));
	request(SIOCAIFGROUP, "group", &ifgr);
	ifr = of(name);
	ifr.ifr_mtu = mtu;
	request(SIOCSIFMTU, "mtu", &ifr);
	ifr = of(name);
	ifr.ifr_addr.sa_len = ETHER_ADDR_LEN;
	ifr.ifr_addr.sa_family = AF_LINK;
	memcpy(ifr.ifr_addr.sa_data, mac, sizeof(mac));
	request(SIOCSIFLLADDR, "address", &ifr);
}

static void
flag_up(const char *name)
{
	struct ifreq ifr;

	ifr = of(name);
	request(SIOCGIFFLAGS, "flags", &ifr);
	ifr.ifr_flags |= IFF_UP;
	request(SIOCSIFFLAGS, "up", &ifr);
}

int
main(int argc, char *argv[])
{
	char a[IFNAMSIZ], b[IFNAMSIZ], text[64];
	struct ifreq ifr;
	struct ifbreq req;
	struct ifdrv ifd;
	int mtu, up;

	up = argc == 5 && strcmp(argv[1], "up") == 0;
	if (!up && !(argc == 3 && strcmp(argv[1], "down") == 0))
		errx(2, "usage: pair up bridge name epairN | pair down epairN");
	if ((s = socket(AF_LOCAL, SOCK_DGRAM, 0)) == -1)
		err(1, "socket");
	snprintf(a, sizeof(a), "%sa", argv[argc - 1]);
	snprintf(b, sizeof(b), "%sb", argv[argc - 1]);
	if (!up) {
		ifr = of(a);
		request(SIOCIFDESTROY, "destroy", &ifr);
		return (0);
	}
	ifr = of(argv[4]);
	request(SIOCIFCREATE2, "create", &ifr);
	ifr = of(argv[2]);
	request(SIOCGIFMTU, "mtu", &ifr);
	mtu = ifr.ifr_mtu;
	snprintf(text, sizeof(text), "jail:%s", argv[3]);
	half(a, text, mtu, 0x0a);
	half(b, text, mtu, 0x0b);
	memset(&req, 0, sizeof(req));
	strlcpy(req.ifbr_ifsname, a, sizeof(req.ifbr_ifsname));
	memset(&ifd, 0, sizeof(ifd));
	strlcpy(ifd.ifd_name, argv[2], sizeof(ifd.ifd_name));
	ifd.ifd_cmd = BRDGADD;
	ifd.ifd_len = sizeof(req);
	ifd.ifd_data = &req;
	request(SIOCSDRVSPEC, "member", &ifd);
	flag_up(a);
	flag_up(b);
	return (0);
}
