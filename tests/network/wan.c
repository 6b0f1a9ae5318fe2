// An internet in user space: an Ethernet switch over TAP devices, with a delay and a loss for each port.
//
//   wan NAME DELAY_MS LOSS_PERCENT [NAME DELAY_MS LOSS_PERCENT ...]
//
// Makes one TAP device for each NAME, prints "ready", and passes frames on until it is ended; the devices end with it.
// A frame from port A to port B is late by A's delay + B's and is lost with A's probability + B's.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PORTS = 16, MAX_WAITING = 65536, MAX_ADDRESSES = 256, MAX_FRAME = 70000, FRAMES_A_TURN = 64 };

struct port { int fd; double delay, loss; };
struct frame { double at; unsigned long order; int port, length; unsigned char *bytes; };
struct address { unsigned char mac[6]; int port; };

static struct port ports[MAX_PORTS];
static int port_count;
static struct frame waiting[MAX_WAITING]; // a heap, the earliest first
static int waiting_count;
static unsigned long frames_seen;
static struct address addresses[MAX_ADDRESSES];
static int address_count;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static int is_earlier(const struct frame *a, const struct frame *b) {
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void swap(int a, int b) {
    struct frame kept = waiting[a];
    waiting[a] = waiting[b];
    waiting[b] = kept;
}

static void push(struct frame frame) {
    if (waiting_count == MAX_WAITING) {
        free(frame.bytes);
        return;
    }
    int at = waiting_count++;
    waiting[at] = frame;
    for (; at && is_earlier(&waiting[at], &waiting[(at - 1) / 2]); at = (at - 1) / 2) swap(at, (at - 1) / 2);
}

static struct frame pop(void) {
    struct frame first = waiting[0];
    waiting[0] = waiting[--waiting_count];
    for (int at = 0;;) {
        int least = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < waiting_count && is_earlier(&waiting[child], &waiting[least])) least = child;
        if (least == at) return first;
        swap(at, least);
        at = least;
    }
}

static int open_tap(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        perror(name);
        exit(1);
    }
    return fd;
}

static int *port_of(const unsigned char *mac) {
    for (int at = 0; at < address_count; at++)
        if (!memcmp(addresses[at].mac, mac, 6)) return &addresses[at].port;
    return NULL;
}

static void learn(const unsigned char *mac, int port) {
    int *known = port_of(mac);
    if (known) {
        *known = port;
    } else if (address_count < MAX_ADDRESSES) {
        memcpy(addresses[address_count].mac, mac, 6);
        addresses[address_count++].port = port;
    }
}

static void pass_on(int from, int to, const unsigned char *bytes, int length) {
    if ((double)rand() / RAND_MAX * 100 < ports[from].loss + ports[to].loss) return;
    struct frame frame = {.at = now() + (ports[from].delay + ports[to].delay) / 1000, .order = frames_seen++, .port = to, .length = length};
    frame.bytes = malloc(length);
    memcpy(frame.bytes, bytes, length);
    push(frame);
}

static void take_in(int from) {
    static unsigned char bytes[MAX_FRAME];
    for (int count = 0; count < FRAMES_A_TURN; count++) {
        int length = read(ports[from].fd, bytes, sizeof bytes);
        if (length <= 14) return;
        learn(bytes + 6, from);
        int *to = bytes[0] & 1 ? NULL : port_of(bytes); // the lowest bit of the first byte: to everybody
        if (to) {
            if (*to != from) pass_on(from, *to, bytes, length);
        } else {
            for (int other = 0; other < port_count; other++)
                if (other != from) pass_on(from, other, bytes, length);
        }
    }
}

int main(int count, char **words) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); // a test run that is killed leaves no device behind
    srand(1);
    for (int at = 1; at + 2 < count && port_count < MAX_PORTS; at += 3)
        ports[port_count++] = (struct port){.fd = open_tap(words[at]), .delay = atof(words[at + 1]), .loss = atof(words[at + 2])};
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd ready[MAX_PORTS];
        for (int at = 0; at < port_count; at++) ready[at] = (struct pollfd){.fd = ports[at].fd, .events = POLLIN};
        double pause = waiting_count ? waiting[0].at - now() : 1;
        pause = pause < 0 ? 0 : pause > 1 ? 1 : pause;
        struct timespec limit = {.tv_sec = (long)pause, .tv_nsec = (long)((pause - (long)pause) * 1e9)};
        ppoll(ready, port_count, &limit, NULL);
        while (waiting_count && waiting[0].at <= now()) {
            struct frame frame = pop();
            if (write(ports[frame.port].fd, frame.bytes, frame.length) < 0) { /* a device that is down: lost */ }
            free(frame.bytes);
        }
        for (int at = 0; at < port_count; at++)
            if (ready[at].revents & POLLIN) take_in(at);
    }
}
