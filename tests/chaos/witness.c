/* What the commands of a chaos run are: each tells a file outside barto that it began and ended,
 * and prints lines that can be checked one by one.
 *
 *   witness LEDGER SEED LONGEST
 *
 * A line of the ledger, one write(2) to a file opened with O_APPEND, so that none is torn:
 *   B|E run schedule slot worker attempt pid nanoseconds-of-CLOCK_REALTIME
 * A line of output: run:seq:crc32, the sum over "run:attempt:stream:seq".
 *
 * What it does is drawn from SEED, run and attempt alone, as tests/chaos/behaviour.py has it, so
 * that the checker knows what to expect. LONGEST bounds its sleep, in milliseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint32_t crc32_of(const char *text) {
    uint32_t sum = 0xFFFFFFFFu;
    for (; *text; text++) {
        sum ^= (unsigned char)*text;
        for (int bit = 0; bit < 8; bit++)
            sum = (sum >> 1) ^ (0xEDB88320u & (0u - (sum & 1u)));
    }
    return ~sum;
}

static const char *given(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : "-";
}

static const char *run, *attempt;
static int ledger;

static void tell(char what) {
    struct timespec now;
    char line[4096];
    clock_gettime(CLOCK_REALTIME, &now);
    int size = snprintf(line, sizeof line, "%c %s %s %s %s %s %ld %lld\n", what, run,
                        given("BARTO_SCHEDULE"), given("BARTO_SLOT"), given("BARTO_WORKER"),
                        attempt, (long)getpid(),
                        (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    if (size < 0 || size >= (int)sizeof line || write(ledger, line, size) != size)
        _exit(98);
}

/* Print lines first to last of a stream, `together` of them with one write. */
static void print(int stream, int first, int last, int together) {
    char text[256], buffer[16384];
    int size = 0, held = 0;
    for (int seq = first; seq <= last; seq++) {
        snprintf(text, sizeof text, "%s:%s:%d:%d", run, attempt, stream, seq);
        size += snprintf(buffer + size, sizeof buffer - size, "%s:%d:%08x\n", run, seq,
                         crc32_of(text));
        if (++held == together || seq == last) {
            for (int done = 0; done < size;) {
                ssize_t written = write(stream, buffer + done, size - done);
                if (written < 0)
                    _exit(97);
                done += written;
            }
            size = held = 0;
        }
    }
}

static void pause_ms(unsigned ms) {
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000L};
    while (nanosleep(&time, &time))
        ;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 96;
    run = given("BARTO_RUN");
    attempt = given("BARTO_ATTEMPT");
    ledger = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (ledger < 0)
        return 99;
    tell('B');
    char text[256];
    snprintf(text, sizeof text, "%s:%s:%s", argv[2], run, attempt);
    unsigned drawn = crc32_of(text), kind = drawn % 100, rest = drawn / 100;
    unsigned longest = (unsigned)atoi(argv[3]);
    int code = 0, number = 0;
    if (kind < 70) { /* short */
        print(1, 1, 4, 2);
        print(2, 1, 1, 1);
    } else if (kind < 90) { /* takes its time between two lines */
        print(1, 1, 2, 1);
        pause_ms(longest ? rest % longest : 0);
        print(1, 3, 3, 1);
    } else if (kind < 95) { /* much at once */
        print(1, 1, 190, 1);
        print(2, 1, 10, 1);
    } else if (kind < 98) { /* does not end well */
        print(1, 1, 2, 1);
        print(2, 1, 1, 1);
        if (rest % 2)
            number = SIGTERM;
        else
            code = 1 + (int)(rest % 90);
    } else { /* leaves a child behind that holds its output and is in a session of its own */
        print(1, 1, 3, 3);
        if (fork() == 0) {
            setsid();
            if (fork() == 0)
                pause_ms(longest / 3);
            _exit(0);
        }
    }
    tell('E');
    if (number) {
        raise(number);
        return 95;
    }
    return code;
}
