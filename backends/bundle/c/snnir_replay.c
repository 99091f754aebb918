/* Runs the integer program of a bundle and holds it against its golden vectors: docs/bundle.md, as a program.
 *
 *     cc -std=c99 -O2 -o snnir_replay snnir_replay.c
 *     ./snnir_replay [-a] [-v] model.snnu
 *
 * C99 and its standard library, integers only; no memory is asked for once the file is read. Registers are cells of 8,
 * 16, 32 or 64 bits, the least that their certified range needs, and a value outside the range stops the run: overflow
 * cannot go unseen. Events are added to membranes one by one; with -a they are added up apart, in `current` registers,
 * and the membrane gets the sum of a step. -v prints the certified range of every register and what it held.
 *
 * Exit status: 0 all counts and events are as expected; 1 one is not, or a range does not hold; 2 no good file.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef long long num;

#ifndef MOST_BYTES
#define MOST_BYTES ((num)1 << 32) /* of memory */
#endif
#define MOST_VALUE ((num)1 << 47) /* of registers; a weight times an event, and a register more, stay below 2^63 */
#define MOST_CELL ((num)1 << 62) /* of the registers of functions */
#define MOST_EVENT ((num)1 << 38)
#define MOST_WEIGHT ((num)1 << 24)
#define MOST_GAIN 31
#define MOST_ITEMS ((num)1 << 40)
#define MOST_SIZE ((num)1 << 31)
#define MOST_STEPS ((num)1 << 24)
#define MOST_CLOCK ((num)1 << 14) /* times registers: less than 63 bits */
#define MOST_AXES 8

typedef struct { /* integers in cells of 1, 2, 4 or 8 bytes; of registers, what they may hold and what they held */
    void *data;
    num count, lo, hi, least, most;
    int cell;
} List;

typedef struct { /* event (t, i) of a window is events[t * n + i]; from step `length` on all is silent */
    List name, events;
    num n, steps, length, lo, hi; /* lo..hi: the tracer's certified range */
} Train;

enum { DENSE, CONV, ONE, LIST, CSR };
typedef struct {
    num kind, groups, inputs, outputs; /* dense, conv: inputs and outputs (channels, maps) of one group */
    num rank, size, positions, kernel; /* conv: axes; elements of a channel, of a map, of a kernel */
    struct { num in, out, stride, begin, dilation, taps; } axis[MOST_AXES];
    Train *source;
    List weights, first, second; /* one: weight map; list: rows, columns; csr: targets, offsets */
    List gain;                   /* by how many bits weight k is shifted: of row k / row, or one for all; empty: none */
    num row;                     /* weights of one gain */
    List neurons, copies;        /* current c goes to neurons[copies[c] .. copies[c + 1] - 1]; empty: to neuron c */
} Synapse;

/* A train crosses the border of a window from its step `first` on. */
typedef struct { Train *input, *initial, *following, *final, held; num first, bits; List level, before; } State;
typedef struct { Train *input, *source; num stride, at_once, first; } Element; /* of a shared train: stride 0 */
typedef struct { Train *train, *source; num first; } Result;

enum { INPUT, CONSTANT, ROUTE, POPULATION, READOUT, MAX, PRODUCT, FEW_SPIKES, ACCUMULATOR, FUNCTION, SETTLED, SCAN,
       DIFFERENCE, RUNNING_SUM, CLOCK, INTEGRATE_FIRE };
enum { EACH_STEP, RATE, BERNOULLI, LATER }; /* kinds of clocks */
enum { ADD, SUB, MUL, FLOOR_DIV, LEAST, MOST, SHIFT_LEFT, SHIFT_RIGHT, AND, JOIN, TABLE, SQRT, BIT_LENGTH, SUM, LARGEST };
enum { KIND, SIZE, WIDTH, RESULT, X, X_MAP, Y, Y_MAP, STEP }; /* words of a step of microcode */
typedef struct Op {
    num kind, lo, hi, staircase, width, windows, body, reverse; /* a scan's body: the `body` ops that follow it */
    num start, bits, omitted; /* few-spike neurons: the step at which input is complete; of a product, that of its one event, or -1 */
    num clock, how, seed, hard, leak, delayed, shift; /* clocks: steps, kind; integrate-and-fire neurons: steps, `start` and shift
                                                         in hundredths of theta */
    num synapses, sources, states, elements, results;
    Train *train, **source;
    Synapse *synapse;
    State *state;
    Element *element;
    Result *result;
    struct Op **sum;        /* of a function: the accumulator of each source, or NULL */
    num levels_at;          /* where among its cells a function leaves its levels */
    List cells, code, maps; /* of a function: registers of its microcode, its steps, and the maps of their operands */
    List levels, map, initial, theta, row;
    List membrane, current, tracer, left, right; /* registers */
    List counts, sizes, addresses, values;       /* golden vectors; what is compared next is values[cursor] */
    num golden_steps, cursor;
} Op;

enum { COUNTS, EVENTS, ADDITIONS, MULTIPLIED, THRESHOLDS, MAXIMA, PRODUCTS, SPIKES, MICROCODE, TALLIES };
static const char *const tally_names[TALLIES] = {"counts compared", "events compared", "synaptic additions",
    "of these with a multiplication", "threshold comparisons", "maximum comparisons", "product multiplications", "spikes",
    "microcode operations"};

enum { RELAY, REPLAY, GRADED };
static num delivery, carry, few, samples, trains, ops, taken, wrong, tally[TALLIES];
static Train *train;
static Op *op;
static int apart;
static struct { num sample, window, step; const Train *train; } here;

/* Lists, registers and trains. */

static num signed_of(uint64_t value, int bits) /* of its lowest bits */
{
    uint64_t sign = (uint64_t)1 << (bits - 1);
    return value & sign ? -(num)(~value & (sign - 1)) - 1 : (num)(value & (sign - 1));
}

static num get(const List *l, num i);

static void say(const Train *t)
{
    num i;
    for (i = 0; t && i < t->name.count; i++)
        putc(get(&t->name, i) < 32 ? '?' : (int)get(&t->name, i), stderr);
    fprintf(stderr, "%s, sample %lld, window %lld, step %lld: ", t ? "" : "in the file", here.sample, here.window, here.step);
}

static void stop(int status, const char *format, ...)
{
    va_list list;
    fputs("snnir_replay: ", stderr);
    if (here.train)
        say(here.train);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(status);
}

static num times(num a, num b)
{
    if (a < 0 || b < 0 || (b && a > MOST_ITEMS / b))
        stop(2, "sizes in the file are too large");
    return a * b;
}

static void *take(num count, num size)
{
    void *memory;
    taken += times(count, size) + size;
    memory = taken > MOST_BYTES ? NULL : calloc((size_t)count + 1, (size_t)size);
    if (!memory)
        stop(2, "the file asks for more memory than there is, or than %lld bytes", MOST_BYTES);
    return memory;
}

static num get(const List *l, num i)
{
    if (i < 0 || i >= l->count)
        stop(2, "the file asks for entry %lld of %lld", i, l->count);
    return l->cell == 1 ? ((int8_t *)l->data)[i] : l->cell == 2 ? ((int16_t *)l->data)[i]
         : l->cell == 4 ? ((int32_t *)l->data)[i] : ((int64_t *)l->data)[i];
}

static void put(List *l, num i, num value)
{
    if (i < 0 || i >= l->count)
        stop(2, "the file asks for entry %lld of %lld", i, l->count);
    if (value < l->lo || value > l->hi)
        stop(1, "[%lld] would be %lld, certified is %lld..%lld", i, value, l->lo, l->hi);
    l->least = value < l->least ? value : l->least;
    l->most = value > l->most ? value : l->most;
    switch (l->cell) {
    case 1: ((int8_t *)l->data)[i] = (int8_t)value; break;
    case 2: ((int16_t *)l->data)[i] = (int16_t)value; break;
    case 4: ((int32_t *)l->data)[i] = (int32_t)value; break;
    default: ((int64_t *)l->data)[i] = value;
    }
}

static void clear(List *l)
{
    if (l->count)
        memset(l->data, 0, (size_t)(l->count * l->cell));
}

static List registers(num count, num lo, num hi)
{
    List l = {0};
    l.count = count, l.lo = lo, l.hi = hi;
    l.cell = lo >= INT8_MIN && hi <= INT8_MAX ? 1 : lo >= INT16_MIN && hi <= INT16_MAX ? 2 : lo >= INT32_MIN && hi <= INT32_MAX ? 4 : 8;
    l.data = take(count, l.cell);
    return l;
}

static num event(const Train *x, num t, num i) { return t < x->length ? get(&x->events, t * x->n + i) : 0; }

static void emit(Train *y, num t, num i, num value) /* added to what is there already */
{
    num at = t * y->n + i;
    here.train = y;
    if (value && t >= y->steps)
        stop(1, "an event at step %lld, certified are %lld steps", t, y->steps);
    if (!value)
        return;
    for (; y->length <= t; y->length++)
        memset((char *)y->events.data + y->length * y->n * y->events.cell, 0, (size_t)(y->n * y->events.cell));
    put(&y->events, at, get(&y->events, at) + value);
}

static num level(const Train *x, num i) /* the settled tracer */
{
    num t, sum = 0;
    for (t = 0; t < x->length; t++)
        sum += event(x, t, i);
    return sum;
}

static void copy(Train *y, num to, const Train *x, num from, num n, num first)
{
    num t, i;
    for (t = first; t < x->length; t++)
        for (i = 0; i < n; i++)
            emit(y, t - first, to + i, event(x, t, from + i));
}

static void send(Train *y, num i, num value, num at_once, num bits)
{
    num t, size = value < 0 ? -value : value;
    if (at_once)
        emit(y, 0, i, value);
    for (t = 0; !at_once && few && t < bits; t++)
        if (size >> (bits - 1 - t) & 1)
            emit(y, t, i, value < 0 ? -((num)1 << (bits - 1 - t)) : (num)1 << (bits - 1 - t));
    for (t = 0; !at_once && !few && t < size; t++)
        emit(y, t, i, value < 0 ? -1 : 1);
}

/* Synapses. */

static void arrive(Op *o, const Synapse *s, num current, num weight, num x)
{
    List *l = apart ? &o->current : &o->membrane;
    num j, first = current, last = current + 1, neuron;
    if (s->copies.count)
        first = get(&s->copies, current), last = get(&s->copies, current + 1);
    for (j = first; j < last; j++) {
        neuron = s->copies.count ? get(&s->neurons, j) : j;
        put(l, neuron, get(l, neuron) + weight * x); /* x is 1: add; x is -1: subtract */
        tally[ADDITIONS]++;
        tally[MULTIPLIED] += few ? ((x < 0 ? -x : x) & ((x < 0 ? -x : x) - 1)) != 0 : x != 1 && x != -1;
    }
}

static num weight(const Synapse *s, num k) /* what an event of 1 adds */
{
    num value = get(&s->weights, k);
    return s->gain.count ? value * ((num)1 << get(&s->gain, s->gain.count > 1 ? k / s->row : 0)) : value;
}

static void convolve(Op *o, const Synapse *s, num a, num x)
{
    num j, m, tap, rest, k, from, target, stride, channel = a / s->size, group = channel / s->inputs, position[MOST_AXES];
    for (j = s->rank, rest = a % s->size; j-- > 0; rest /= s->axis[j].in)
        position[j] = rest % s->axis[j].in;
    for (tap = 0; tap < s->kernel; tap++) {
        for (j = s->rank, rest = tap, target = 0, stride = 1; j-- > 0; rest /= s->axis[j].taps) {
            k = rest % s->axis[j].taps;
            from = position[j] + s->axis[j].begin - k * s->axis[j].dilation; /* output position times stride */
            if (from < 0 || from % s->axis[j].stride || from / s->axis[j].stride >= s->axis[j].out)
                break;
            target += from / s->axis[j].stride * stride;
            stride *= s->axis[j].out;
        }
        for (m = group * s->outputs; j < 0 && m < (group + 1) * s->outputs; m++)
            arrive(o, s, m * s->positions + target, weight(s, (m * s->inputs + channel % s->inputs) * s->kernel + tap), x);
    }
}

static void deliver(Op *o, const Synapse *s, num t)
{
    num a, k, x;
    for (k = 0; s->kind == LIST && k < s->weights.count; k++)
        if ((x = event(s->source, t, get(&s->second, k))) != 0)
            arrive(o, s, get(&s->first, k), weight(s, k), x);
    for (a = 0; s->kind != LIST && t < s->source->length && a < s->source->n; a++) {
        if ((x = event(s->source, t, a)) == 0)
            continue;
        if (s->kind == DENSE)
            for (k = 0; k < s->outputs; k++)
                arrive(o, s, a / s->inputs * s->outputs + k, weight(s, k * s->inputs + a % s->inputs), x);
        else if (s->kind == CONV)
            convolve(o, s, a, x);
        else if (s->kind == ONE)
            arrive(o, s, a, weight(s, get(&s->first, a)), x);
        else
            for (k = get(&s->second, a); k < get(&s->second, a + 1); k++)
                arrive(o, s, get(&s->first, k), weight(s, k), x);
    }
}

/* Ops. */

static num longest(const Op *o) /* steps of its sources */
{
    num k, steps = 0;
    for (k = 0; k < o->synapses; k++)
        steps = o->synapse[k].source->length > steps ? o->synapse[k].source->length : steps;
    for (k = 0; k < o->sources; k++)
        steps = o->source[k]->length > steps ? o->source[k]->length : steps;
    return steps;
}

static void receive(Op *o, num t)
{
    num k, i;
    clear(&o->current);
    for (k = 0; k < o->synapses; k++)
        deliver(o, &o->synapse[k], t);
    for (i = 0; apart && i < o->train->n; i++)
        put(&o->membrane, i, get(&o->membrane, i) + get(&o->current, i));
}

static num fire(Op *o, num i) /* what neuron i fires */
{
    num v = get(&o->membrane, i), s = get(&o->tracer, i), row = get(&o->row, i), y;
    tally[THRESHOLDS] += 2;
    if (o->staircase) { /* s stays within its certified range, and that within lo..hi */
        num entry = row * (o->hi - o->lo) + s - o->lo;
        y = s < o->hi && v >= get(&o->theta, entry) ? 1 : s > o->lo && v < get(&o->theta, entry - 1) ? -1 : 0;
    } else {
        y = s < o->hi && v >= get(&o->theta, row) ? 1 : s > o->lo && v < 0 ? -1 : 0;
        if (y)
            put(&o->membrane, i, v - y * get(&o->theta, row));
    }
    if (y)
        put(&o->tracer, i, s + y);
    return y;
}

static num negative(Op *o, num i) /* whether the level of neuron i is below 0 */
{
    num row = get(&o->row, i);
    if (o->lo == 0)
        return 0;
    tally[THRESHOLDS]++;
    return get(&o->membrane, i) < (o->staircase ? get(&o->theta, row * (o->hi - o->lo) - o->lo - 1) : 0);
}

static num tell(Op *o, num i, num bit, num below) /* what few-spike neuron i emits in the step of a bit */
{
    num v = get(&o->membrane, i), s = get(&o->tracer, i), row = get(&o->row, i), y = 0;
    tally[THRESHOLDS]++;
    if (below && s - bit >= o->lo)
        y = v < (o->staircase ? get(&o->theta, row * (o->hi - o->lo) + s - bit - o->lo) : (1 - bit) * get(&o->theta, row)) ? -bit : 0;
    else if (!below && s + bit <= o->hi)
        y = v >= (o->staircase ? get(&o->theta, row * (o->hi - o->lo) + s + bit - o->lo - 1) : bit * get(&o->theta, row)) ? bit : 0;
    if (y && !o->staircase)
        put(&o->membrane, i, v - y * get(&o->theta, row));
    if (y)
        put(&o->tracer, i, s + y);
    return y;
}

static void tell_bits(Op *o, num steps) /* few-spike neurons: all input, then the bits of the level */
{
    num t, i, k, y;
    here.train = o->train;
    if (steps > o->start)
        stop(1, "input arrives after step %lld, at which it should be complete", o->start);
    for (i = 0; i < o->train->n; i++)
        put(&o->membrane, i, get(&o->initial, i) + (o->staircase ? 0 : get(&o->theta, get(&o->row, i)) / 2));
    for (t = 0; t < steps; t++) {
        here.step = t;
        receive(o, t);
    }
    for (i = 0; i < o->train->n; i++) {
        num below = negative(o, i);
        for (k = o->bits - 1, t = o->start; k >= o->omitted; k--, t++) {
            here.step = t;
            y = tell(o, i, (num)1 << k, below);
            emit(o->train, t, i, y);
            tally[SPIKES] += y != 0;
        }
    }
}

static num drawn(num seed, num counter, num steps) /* splitmix64: 0 .. steps - 1 */
{
    uint64_t z = (uint64_t)seed + ((uint64_t)counter + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (num)(((z ^ z >> 31) >> 32) * (uint64_t)steps >> 32);
}

static void tick(Op *o) /* a clock */
{
    num t, i, held, size, sign, y, n = o->train->n;
    Train *from = o->source[0];
    here.train = o->train;
    for (t = 0; t < o->clock; t++)
        for (i = 0; i < n; i++) {
            here.step = t;
            if (o->how == LATER) {
                emit(o->train, t, i, t >= o->start && t < from->length ? event(from, t, i) : 0);
                continue;
            }
            held = level(from, i), size = held < 0 ? -held : held, sign = held < 0 ? -1 : 1;
            y = held;
            if (o->how == RATE)
                y = sign * (size * (t + 1) / o->clock - size * t / o->clock);
            else if (o->how == BERNOULLI)
                y = size && drawn(o->seed, (here.sample * n + i) * o->clock + t, o->clock) < size ? sign : 0;
            emit(o->train, t, i, y);
        }
}

static num floored(num x, num y) { return x / y - (x % y && x < 0); } /* y > 0 */

static void lower(Op *o, num i) /* the reset of a neuron that has sent a spike */
{
    put(&o->membrane, i, o->hard ? 0 : get(&o->membrane, i) - get(&o->theta, get(&o->row, i)));
}

static void integrate(Op *o) /* integrate-and-fire neurons, for the steps of their clock */
{
    num t, i, v, y, theta, drive, steps = longest(o);
    here.train = o->train;
    for (i = 0; i < o->train->n; i++) {
        put(&o->membrane, i, get(&o->theta, get(&o->row, i)) * o->start / 100);
        put(&o->left, i, 0);
    }
    for (t = 0; t < o->clock; t++) {
        here.step = t;
        for (i = 0; i < o->train->n; i++) {
            v = get(&o->membrane, i), theta = get(&o->theta, get(&o->row, i));
            drive = get(&o->initial, i) + theta * o->shift / 100;
            if (o->leak)
                v -= floored(v, (num)1 << o->leak);
            put(&o->membrane, i, v + floored(drive * (t + 1), o->clock) - floored(drive * t, o->clock));
        }
        if (t < steps)
            receive(o, t);
        for (i = 0; i < o->train->n; i++) {
            if (o->delayed && get(&o->left, i))
                lower(o, i);
            tally[THRESHOLDS]++;
            y = get(&o->membrane, i) >= get(&o->theta, get(&o->row, i));
            emit(o->train, t, i, y);
            put(&o->left, i, y);
            tally[SPIKES] += y;
            if (y && !o->delayed)
                lower(o, i);
            put(&o->tracer, i, get(&o->tracer, i) + y);
        }
    }
}

static void sum_up(Op *o, num fresh) /* populations, readouts and accumulators */
{
    num t, i, y, fired = 1, steps = longest(o);
    for (i = 0; fresh && i < o->train->n; i++)
        put(&o->membrane, i, get(&o->initial, i) + (o->kind != POPULATION || o->staircase ? 0 : get(&o->theta, get(&o->row, i)) / 2));
    for (t = 0; t < steps || fired; t++) {
        here.train = o->train, here.step = t, fired = 0;
        if (t < steps)
            receive(o, t);
        for (i = 0; o->kind == POPULATION && i < o->train->n; i++) {
            y = fire(o, i);
            emit(o->train, t, i, y);
            fired |= y;
            tally[SPIKES] += y != 0;
        }
    }
}

/* Functions: microcode on 64-bit cells. Unsigned sums and products, so that no file can make them undefined. */

static num wrapped(uint64_t value) { return signed_of(value, 64); }

static num divided(num x, num y) /* rounded towards minus infinity */
{
    num quotient;
    y = y ? y : 1;
    if (y == -1)
        return wrapped(0 - (uint64_t)x);
    quotient = x / y;
    return x % y && (x < 0) != (y < 0) ? quotient - 1 : quotient;
}

static num root(num x) /* the largest integer whose square is at most x */
{
    uint64_t rest = x > 0 ? (uint64_t)x : 0, found = 0, bit;
    for (bit = (uint64_t)1 << 62; bit; bit >>= 2) {
        if (rest >= found + bit) {
            rest -= found + bit;
            found = (found >> 1) + bit;
        } else
            found >>= 1;
    }
    return (num)found;
}

static num digits(num x)
{
    num count = 0;
    for (; x > 0; x >>= 1)
        count++;
    return count;
}

static num both(num kind, num x, num y)
{
    switch (kind) {
    case ADD: return wrapped((uint64_t)x + (uint64_t)y);
    case SUB: return wrapped((uint64_t)x - (uint64_t)y);
    case MUL: return wrapped((uint64_t)x * (uint64_t)y);
    case FLOOR_DIV: return divided(x, y);
    case LEAST: return x < y ? x : y;
    case MOST: return x > y ? x : y;
    case SHIFT_LEFT: return y < 0 || y > 63 ? 0 : wrapped((uint64_t)x << y);
    case SHIFT_RIGHT: y = y < 0 || y > 63 ? 63 : y; return x >= 0 ? x >> y : ~(~x >> y);
    default: return wrapped((uint64_t)x & (uint64_t)y);
    }
}

static num operand(const Op *o, num first, num map, num i) /* -1 in a map: 0 */
{
    num place = map < 0 ? first + i : get(&o->maps, map + i);
    return place < 0 ? 0 : get(&o->cells, place);
}

static void microcode(Op *o)
{
    num s, i, j, x, y, kind, last;
    for (s = 0; s + STEP <= o->code.count; s += STEP) {
        num width = get(&o->code, s + WIDTH), first = get(&o->code, s + X), map = get(&o->code, s + X_MAP);
        kind = get(&o->code, s + KIND);
        for (i = 0; i < get(&o->code, s + SIZE); i++, tally[MICROCODE]++) {
            x = kind == SUM ? 0 : operand(o, first, map, kind == LARGEST ? i * width : i);
            if (kind <= AND)
                x = both(kind, x, operand(o, get(&o->code, s + Y), get(&o->code, s + Y_MAP), i));
            else if (kind == TABLE) {
                last = width - 1;
                x = get(&o->cells, get(&o->code, s + Y) + (x < 0 ? 0 : x > last ? last : x));
            } else if (kind == SQRT || kind == BIT_LENGTH)
                x = kind == SQRT ? root(x) : digits(x);
            for (j = kind == LARGEST ? 1 : 0; (kind == SUM || kind == LARGEST) && j < width; j++) {
                y = operand(o, first, map, i * width + j);
                x = kind == SUM ? both(ADD, x, y) : x > y ? x : y;
            }
            put(&o->cells, get(&o->code, s + RESULT) + i, x);
        }
    }
}

static void compute(Op *o, num fresh) /* of complete levels and sums; its levels, or their change, are charged at once */
{
    num k, i, at;
    for (k = 0; k < o->sources; k++)
        for (i = 0; i < o->source[k]->n; i++) {
            at = get(&o->map, k) + i;
            put(&o->cells, at, o->sum[k] ? get(&o->sum[k]->membrane, i) : (fresh ? 0 : get(&o->cells, at)) + level(o->source[k], i));
        }
    microcode(o);
    for (i = 0; i < o->train->n; i++) {
        num value = get(&o->cells, o->levels_at + i), before = fresh ? 0 : get(&o->tracer, i);
        value = value < o->lo ? o->lo : value > o->hi ? o->hi : value;
        emit(o->train, o->start, i, value - before);
        put(&o->tracer, i, value);
    }
}

static void differ(Op *o, num fresh, num steps) /* of tracers, at every step; a fresh window is told its level at step 0 */
{
    num k, i, t, y, at, value, changes;
    for (k = 0; fresh && k < o->sources; k++)
        for (i = 0; i < o->source[k]->n; i++)
            put(&o->cells, get(&o->map, k) + i, 0);
    for (t = 0; t < steps || (fresh && !t); t++) {
        here.train = o->train, here.step = t, changes = fresh && !t;
        for (k = 0; k < o->sources; k++)
            for (i = 0, at = get(&o->map, k); i < o->source[k]->n; i++)
                if ((y = event(o->source[k], t, i)) != 0)
                    put(&o->cells, at + i, get(&o->cells, at + i) + y), changes = 1;
        if (!changes)
            continue;
        microcode(o);
        for (i = 0; i < o->train->n; i++) {
            value = get(&o->cells, o->levels_at + i);
            value = value < o->lo ? o->lo : value > o->hi ? o->hi : value;
            emit(o->train, t, i, value - get(&o->tracer, i));
            put(&o->tracer, i, value);
        }
    }
}

static void run_sum(Op *o, num fresh, num steps) /* the changes of a sum, the first of which holds what it starts with */
{
    num t, i;
    for (i = 0; fresh && i < o->train->n; i++)
        put(&o->membrane, i, get(&o->initial, i));
    for (t = 0; t < steps || (fresh && !t); t++) {
        here.train = o->train, here.step = t;
        for (i = 0; i < o->train->n; i++)
            put(&o->left, i, fresh && !t ? 0 : get(&o->membrane, i));
        if (t < steps)
            receive(o, t);
        for (i = 0; i < o->train->n; i++)
            emit(o->train, t, i, get(&o->membrane, i) - get(&o->left, i));
    }
}

static num largest(Op *o, num t, num i)
{
    num j, m = -MOST_VALUE, before = get(&o->tracer, i);
    for (j = i * o->width; j < (i + 1) * o->width; j++, tally[MAXIMA]++) {
        put(&o->left, j, get(&o->left, j) + event(o->source[0], t, j));
        m = get(&o->left, j) > m ? get(&o->left, j) : m;
    }
    put(&o->tracer, i, m);
    return m - before;
}

static num product(Op *o, num t, num i)
{
    num a = get(&o->left, i), b = get(&o->right, i), da = event(o->source[0], t, i), db = event(o->source[1], t, i);
    put(&o->left, i, a + da);
    put(&o->right, i, b + db);
    tally[PRODUCTS] += da || db ? 2 : 0;
    return da * (b + db) + a * db;
}

static void multiply(Op *o, num steps) /* a product that is one event, of complete factors */
{
    num t, i;
    here.train = o->train;
    if (steps > o->start + 1)
        stop(1, "a factor changes after step %lld, at which it should be complete", o->start);
    for (i = 0; i < o->train->n; i++) {
        for (t = 0; t < steps; t++) {
            put(&o->left, i, get(&o->left, i) + event(o->source[0], t, i));
            put(&o->right, i, get(&o->right, i) + event(o->source[1], t, i));
        }
        emit(o->train, o->start, i, get(&o->left, i) * get(&o->right, i));
        tally[PRODUCTS]++;
    }
}

static num routed(Op *o, num t, num i)
{
    num k = 0, a = get(&o->map, i);
    while (a >= o->source[k]->n && k < o->sources - 1)
        a -= o->source[k++]->n;
    return a < 0 ? 0 : event(o->source[k], t, a);
}

static void expect(num found, num expected, const char *what, num i)
{
    if (found == expected || wrong++ >= 5)
        return;
    say(here.train);
    fprintf(stderr, "%s [%lld] is %lld, expected %lld\n", what, i, found, expected);
}

static void check(Op *o) /* against the golden vectors */
{
    num i, t, k, address, there, expected, n = o->train->n, cell = here.sample * o->windows + here.window;
    here.train = o->train;
    for (i = 0; i < n && o->kind != INPUT; i++, tally[COUNTS]++)
        expect(o->kind == READOUT ? get(&o->membrane, i) : o->kind == CLOCK ? level(o->train, i)
               : o->kind == PRODUCT ? get(&o->left, i) * get(&o->right, i) : get(&o->tracer, i),
               get(&o->counts, cell * n + i), "count", i);
    for (t = 0; o->kind != READOUT && (t < o->train->length || t < o->golden_steps); t++) {
        here.step = t;
        expected = t < o->golden_steps ? get(&o->sizes, cell * o->golden_steps + t) : 0;
        for (i = 0, there = 0; i < n; i++)
            there += event(o->train, t, i) != 0;
        expect(there, expected, "the number of events", t);
        for (k = 0; k < expected; k++, o->cursor++, tally[EVENTS]++) {
            address = get(&o->addresses, o->cursor);
            expect(event(o->train, t, address), get(&o->values, o->cursor), "event", address);
        }
    }
}

static void run(Op *first, num count, num window);

static void enter(State *s, num k) /* what a state gives to window k */
{
    num i, resumed = carry && k > 0;
    s->input->length = 0;
    for (i = 0; i < s->input->n; i++) {
        here.train = s->input;
        if (k == 0)
            put(&s->level, i, level(s->initial, i));
        if (delivery != REPLAY)
            send(s->input, i, get(&s->level, i) - (resumed ? get(&s->before, i) : 0), delivery == GRADED, s->bits);
        else if (carry && k == 1)
            emit(s->input, 0, i, -get(&s->before, i));
    }
    if (delivery == REPLAY)
        copy(s->input, 0, k ? &s->held : s->initial, 0, s->input->n, 0);
}

static void follow(State *s, num k) /* what it has become in window k */
{
    num i;
    for (i = 0; i < s->input->n; i++) {
        here.train = s->input;
        put(&s->before, i, get(&s->level, i));
        put(&s->level, i, (carry && k > 0 ? get(&s->level, i) : 0) + level(s->following, i));
    }
    s->held.length = 0;
    copy(&s->held, 0, s->following, 0, s->input->n, s->first);
}

static void scan(Op *o)
{
    num k, i, j, e, last;
    for (j = 0; j < o->results; j++)
        o->result[j].train->length = 0;
    for (k = 0; k < o->windows; k++) {
        here.window = k;
        e = o->reverse ? o->windows - 1 - k : k;
        last = o->reverse ? e + 1 : e - 1; /* the element of the window before */
        for (j = 0; j < o->elements; j++) {
            Element *l = &o->element[j];
            l->input->length = 0;
            if (!carry || k == 0)
                copy(l->input, 0, l->source, e * l->stride, l->input->n, l->first);
            for (i = 0; carry && k > 0 && i < l->input->n; i++)
                send(l->input, i, level(l->source, e * l->stride + i) - level(l->source, last * l->stride + i), l->at_once, 0);
        }
        for (j = 0; j < o->states; j++)
            enter(&o->state[j], k);
        run(o + 1, o->body, k);
        for (j = 0; j < o->states; j++)
            follow(&o->state[j], k);
        for (j = 0; j < o->results; j++) {
            Result *r = &o->result[j];
            for (i = 0; carry && k > 0 && i < r->source->n; i++) /* outside all starts from 0: first the level, then its change */
                emit(r->train, 0, e * r->source->n + i, level(r->train, last * r->source->n + i));
            copy(r->train, e * r->source->n, r->source, 0, r->source->n, r->first);
        }
    }
    here.window = 0;
    for (j = 0; j < o->states; j++) {
        State *s = &o->state[j];
        s->final->length = 0;
        for (i = 0; carry && o->windows > 1 && i < s->final->n; i++)
            emit(s->final, 0, i, get(&s->before, i));
        copy(s->final, 0, &s->held, 0, s->final->n, 0);
    }
}

static void run(Op *first, num count, num window)
{
    Op *o;
    for (o = first; o < first + count; o += 1 + o->body) {
        num t, i, n, cell, fresh = !carry || window == 0, steps = longest(o);
        if (o->kind == SCAN) {
            scan(o);
            continue;
        }
        here.train = o->train, here.step = 0;
        o->train->length = 0;
        n = o->train->n, cell = here.sample * o->windows + window;
        if (fresh)
            clear(&o->left), clear(&o->right), clear(&o->tracer);
        for (i = 0; o->kind == INPUT && i < n; i++)
            emit(o->train, 0, i, get(&o->levels, cell * n + i) - (fresh ? 0 : get(&o->levels, (cell - 1) * n + i)));
        for (i = 0; o->kind == CONSTANT && fresh && i < n; i++)
            emit(o->train, 0, i, get(&o->levels, i));
        if (o->kind == POPULATION || o->kind == READOUT || o->kind == ACCUMULATOR)
            sum_up(o, fresh);
        if (o->kind == FUNCTION || o->kind == SETTLED)
            compute(o, fresh);
        if (o->kind == FEW_SPIKES)
            tell_bits(o, steps);
        if (o->kind == CLOCK)
            tick(o);
        if (o->kind == INTEGRATE_FIRE)
            integrate(o);
        if (o->kind == DIFFERENCE)
            differ(o, fresh, steps);
        if (o->kind == RUNNING_SUM)
            run_sum(o, fresh, steps);
        if (o->kind == PRODUCT && o->start >= 0)
            multiply(o, steps);
        for (t = 0; (o->kind == ROUTE || o->kind == MAX || (o->kind == PRODUCT && o->start < 0)) && t < steps; t++)
            for (i = 0; i < n; i++) {
                here.train = o->train, here.step = t;
                emit(o->train, t, i, o->kind == ROUTE ? routed(o, t, i) : o->kind == MAX ? largest(o, t, i) : product(o, t, i));
            }
        if (o->kind != CONSTANT && o->kind != ROUTE && o->kind != ACCUMULATOR && o->kind != SETTLED && o->kind != RUNNING_SUM)
            check(o);
    }
}

/* The file: 64-bit words, least byte first. What its numbers point to is checked where they are used, in get and put. */

static FILE *stream;
static uint64_t checksum = 14695981039346656037u; /* FNV-1a of all words */

static uint64_t raw(void)
{
    unsigned char bytes[8];
    uint64_t value = 0;
    int i;
    if (fread(bytes, 1, 8, stream) != 8)
        stop(2, "the file ends too early");
    for (i = 8; i-- > 0;)
        value = value << 8 | bytes[i];
    checksum = (checksum ^ value) * 1099511628211u;
    return value;
}

static num word(num lo, num hi)
{
    num value = signed_of(raw(), 64);
    if (value < lo || value > hi)
        stop(2, "the file has %lld where only %lld..%lld can stand", value, lo, hi);
    return value;
}

static List list(num lo, num hi) /* count, bytes of a cell, then the integers, which fill whole words */
{
    num i, count = word(0, MOST_ITEMS), cell = word(1, 8), value;
    uint64_t held = 0;
    List l = registers(count, cell == 1 ? INT8_MIN : cell == 2 ? INT16_MIN : cell == 4 ? INT32_MIN : INT64_MIN, cell < 8 ? 0 : INT64_MAX);
    if (l.cell != cell)
        stop(2, "the file has integers of %lld bytes", cell);
    l.lo = lo, l.hi = hi;
    for (i = 0; i < count; i++, held = cell < 8 ? held >> 8 * cell : 0) {
        if (i % (8 / cell) == 0)
            held = raw();
        value = signed_of(held, (int)(8 * cell));
        if (value < lo || value > hi)
            stop(2, "the file has %lld in a list where only %lld..%lld can stand", value, lo, hi);
        put(&l, i, value);
    }
    return l;
}

static List certified(num count)
{
    num lo = word(-MOST_VALUE, 0);
    return registers(count, lo, word(0, MOST_VALUE));
}

static Train *a_train(void) { return train + word(0, trains - 1); }

static void read_synapse(Synapse *s)
{
    num j, fits = 1;
    s->source = a_train();
    s->kind = word(DENSE, CSR);
    s->size = s->positions = s->kernel = 1;
    if (s->kind <= CONV)
        s->groups = word(0, MOST_SIZE), s->inputs = word(0, MOST_SIZE), s->outputs = word(0, MOST_SIZE);
    s->rank = s->kind == CONV ? word(0, MOST_AXES) : 0;
    for (j = 0; j < s->rank; j++) {
        s->size = times(s->size, s->axis[j].in = word(0, MOST_SIZE));
        s->positions = times(s->positions, s->axis[j].out = word(0, MOST_SIZE));
        s->axis[j].stride = word(1, MOST_SIZE), s->axis[j].begin = word(-MOST_SIZE, MOST_SIZE);
        s->axis[j].dilation = word(1, MOST_SIZE);
        s->kernel = times(s->kernel, s->axis[j].taps = word(0, MOST_SIZE));
    }
    s->weights = list(-MOST_WEIGHT, MOST_WEIGHT);
    s->gain = list(0, MOST_GAIN);
    s->row = s->kind <= CONV ? times(s->inputs, s->kernel) : 1;
    if (s->gain.count > 1 && times(s->gain.count, s->row) != s->weights.count)
        stop(2, "the file has %lld gains for %lld weights", s->gain.count, s->weights.count);
    for (j = 0; s->gain.count && j < s->weights.count; j++)
        if (weight(s, j) > MOST_WEIGHT || weight(s, j) < -MOST_WEIGHT)
            stop(2, "the file has a weight that its gain makes too large");
    if (s->kind <= CONV) /* so that no product of sizes is too large */
        fits = times(times(s->groups, s->inputs), s->size) == s->source->n && times(times(s->groups, s->outputs), s->positions) >= 0
            && times(times(s->kind == CONV ? s->groups : 1, s->outputs), times(s->inputs, s->kernel)) == s->weights.count;
    if (!fits)
        stop(2, "the file has a synapse whose sizes do not fit");
    if (s->kind > CONV)
        s->first = list(0, MOST_ITEMS);
    if (s->kind > ONE)
        s->second = list(0, MOST_ITEMS);
    if (word(0, 1))
        s->neurons = list(0, MOST_ITEMS), s->copies = list(0, MOST_ITEMS);
}

static void read_scan(Op *o)
{
    num j;
    o->windows = word(1, MOST_STEPS), o->reverse = word(0, 1), o->body = word(0, ops);
    o->state = take(o->states = word(0, MOST_SIZE), sizeof(State));
    for (j = 0; j < o->states; j++) {
        State *s = &o->state[j];
        s->input = a_train(), s->initial = a_train(), s->following = a_train(), s->final = a_train();
        s->first = word(0, MOST_STEPS), s->bits = word(0, 60);
        s->held = *s->following;
        s->held.events = registers(times(s->held.n, s->held.steps), s->held.events.lo, s->held.events.hi);
        s->level = registers(s->input->n, s->initial->lo < s->held.lo ? s->initial->lo : s->held.lo,
                             s->initial->hi > s->held.hi ? s->initial->hi : s->held.hi);
        s->before = registers(s->input->n, s->level.lo, s->level.hi);
    }
    o->element = take(o->elements = word(0, MOST_SIZE), sizeof(Element));
    for (j = 0; j < o->elements; j++) {
        o->element[j].input = a_train(), o->element[j].source = a_train();
        o->element[j].stride = word(0, MOST_SIZE), o->element[j].at_once = word(0, 1);
        o->element[j].first = word(0, MOST_STEPS);
    }
    o->result = take(o->results = word(0, MOST_SIZE), sizeof(Result));
    for (j = 0; j < o->results; j++)
        o->result[j].train = a_train(), o->result[j].source = a_train(), o->result[j].first = word(0, MOST_STEPS);
}

static void read_function(Op *o)
{
    num k, is_sum, count = word(1, MOST_SIZE);
    List constants;
    Op *other;
    o->source = take(count, sizeof(Train *)), o->sum = take(count, sizeof(Op *));
    o->map = registers(count, 0, MOST_SIZE);
    for (k = 0; k < count; k++) {
        o->source[k] = a_train();
        put(&o->map, k, word(0, MOST_SIZE));
        is_sum = word(0, 1);
        for (other = op; is_sum && other < o; other++)
            if (other->kind == ACCUMULATOR && other->train == o->source[k])
                o->sum[k] = other;
        if (is_sum && !o->sum[k])
            stop(2, "the file has a function of a sum that is not there yet");
    }
    o->sources = count;
    o->start = word(0, MOST_STEPS), o->lo = word(-MOST_EVENT, 0), o->hi = word(0, MOST_EVENT), o->levels_at = word(0, MOST_ITEMS);
    constants = list(-MOST_CELL, MOST_CELL);
    o->cells = registers(constants.count, INT64_MIN, INT64_MAX);
    for (k = 0; k < constants.count; k++)
        put(&o->cells, k, get(&constants, k));
    free(constants.data);
    o->code = list(-1, MOST_ITEMS), o->maps = list(-1, MOST_ITEMS);
    o->tracer = registers(o->train->n, o->lo, o->hi);
}

static void read_op(Op *o, num windows)
{
    num k, n;
    o->kind = word(INPUT, INTEGRATE_FIRE);
    if (windows && o->kind == SCAN)
        stop(2, "the file has a scan within a scan");
    o->windows = windows ? windows : 1;
    if (o->kind == SCAN) {
        read_scan(o);
        return;
    }
    o->train = a_train(), n = o->train->n;
    times(times(samples, o->windows), n);
    if (o->kind == INPUT || o->kind == CONSTANT)
        o->levels = list(o->train->lo, o->train->hi);
    if (o->kind == ROUTE || o->kind == MAX || o->kind == PRODUCT || o->kind == CLOCK)
        o->source = take(o->sources = o->kind == ROUTE ? word(1, MOST_SIZE) : o->kind == PRODUCT ? 2 : 1, sizeof(Train *));
    for (k = 0; k < o->sources; k++) {
        o->source[k] = a_train();
        if (o->kind == PRODUCT && (o->source[k]->lo < -MOST_SIZE / 2 || o->source[k]->hi > MOST_SIZE / 2
                                   || o->source[k]->events.lo < -MOST_SIZE / 2 || o->source[k]->events.hi > MOST_SIZE / 2))
            stop(2, "the file has a product of trains of more than 30 bits");
    }
    if (o->kind == PRODUCT)
        o->start = word(-1, MOST_STEPS);
    if (o->kind == CLOCK) {
        o->clock = word(1, MOST_CLOCK), o->how = word(EACH_STEP, LATER), o->seed = word(0, INT64_MAX);
        o->start = word(0, o->clock - 1);
        if (o->source[0]->n != n)
            stop(2, "the file has a clock of another size");
    }
    if (o->kind == ROUTE)
        o->map = list(-1, MOST_ITEMS);
    if (o->kind == FUNCTION || o->kind == SETTLED || o->kind == DIFFERENCE) {
        read_function(o);
        if (o->kind == SETTLED)
            return;
    }
    if (o->kind == POPULATION || o->kind == FEW_SPIKES || o->kind == READOUT || o->kind == ACCUMULATOR
        || o->kind == RUNNING_SUM || o->kind == INTEGRATE_FIRE) {
        o->synapse = take(o->synapses = word(0, MOST_SIZE), sizeof(Synapse));
        for (k = 0; k < o->synapses; k++)
            read_synapse(&o->synapse[k]);
        o->initial = list(-MOST_VALUE, MOST_VALUE);
        o->membrane = certified(n), o->current = certified(n);
    }
    if (o->kind == POPULATION || o->kind == FEW_SPIKES) {
        o->tracer = certified(n);
        o->lo = word(-MOST_STEPS / 2, o->tracer.lo), o->hi = word(o->tracer.hi, MOST_STEPS / 2), o->staircase = word(0, 1);
        if (o->kind == FEW_SPIKES)
            o->start = word(0, MOST_STEPS), o->bits = word(0, 30), o->omitted = word(0, o->bits);
        o->theta = list(-MOST_VALUE, MOST_VALUE), o->row = list(0, MOST_SIZE);
    }
    if (o->kind == INTEGRATE_FIRE) {
        o->tracer = certified(n), o->left = registers(n, 0, 1);
        o->clock = word(1, MOST_CLOCK), o->hard = word(0, 1), o->leak = word(0, 30), o->delayed = word(0, 1);
        o->start = word(0, 100), o->shift = word(0, 100);
        o->theta = list(1, MOST_VALUE), o->row = list(0, MOST_SIZE);
    }
    if (o->kind == MAX)
        o->width = word(1, MOST_SIZE);
    if (o->kind == MAX || o->kind == PRODUCT)
        o->left = registers(o->source[0]->n, o->source[0]->lo, o->source[0]->hi);
    if (o->kind == MAX)
        o->tracer = registers(n, o->train->lo, o->train->hi);
    if (o->kind == PRODUCT)
        o->right = registers(o->source[1]->n, o->source[1]->lo, o->source[1]->hi);
    if (o->kind == RUNNING_SUM)
        o->left = registers(n, o->train->lo, o->train->hi);
    if (o->kind == CONSTANT || o->kind == ROUTE || o->kind == ACCUMULATOR || o->kind == RUNNING_SUM)
        return;
    if (o->kind != INPUT)
        o->counts = list(-MOST_VALUE, MOST_VALUE);
    if (o->kind != READOUT) {
        o->golden_steps = word(0, MOST_STEPS), o->sizes = list(0, n);
        o->addresses = list(0, MOST_SIZE), o->values = list(-MOST_EVENT, MOST_EVENT);
    }
}

static void read_file(const char *path)
{
    static const unsigned char magic[8] = {'s', 'n', 'n', 'u', 0, 0, 0, 2};
    unsigned char start[8];
    uint64_t expected;
    num i, lo, hi, left = 0, windows = 0;
    stream = fopen(path, "rb");
    if (!stream || fread(start, 1, 8, stream) != 8 || memcmp(start, magic, 8))
        stop(2, "%s cannot be read, or is no unpacked bundle of version 2; `snnir bundle --emit c` writes one", path);
    delivery = word(RELAY, GRADED), carry = word(0, 1), few = word(0, 1), samples = word(1, MOST_STEPS);
    train = take(trains = word(0, MOST_SIZE), sizeof(Train));
    for (i = 0; i < trains; i++) {
        Train *t = &train[i];
        t->name = list(INT8_MIN, INT8_MAX);
        t->n = word(0, MOST_SIZE), t->steps = word(0, MOST_STEPS);
        t->lo = word(-MOST_EVENT, 0), t->hi = word(0, MOST_EVENT);
        lo = word(-MOST_EVENT, 0), hi = word(0, MOST_EVENT);
        t->events = registers(times(t->n, t->steps), lo, hi);
    }
    op = take(ops = word(0, MOST_SIZE), sizeof(Op));
    for (i = 0; i < ops; i++) {
        read_op(&op[i], left-- > 0 ? windows : 0);
        if (op[i].body >= ops - i)
            stop(2, "the file has a scan with more ops than there are");
        if (op[i].kind == SCAN)
            windows = op[i].windows, left = op[i].body;
    }
    expected = checksum;
    if (raw() != expected || getc(stream) != EOF)
        stop(2, "%s was changed or damaged: its checksum differs; write it again with `snnir bundle --emit c`", path);
    fclose(stream);
}

static void show(const Op *o, const char *what, const List *l)
{
    num i, bits = 1;
    while (l->hi >> (bits - 1) || -(l->lo + 1) >> (bits - 1) > 0)
        bits++;
    for (i = 0; i < o->train->name.count; i++)
        putchar((int)get(&o->train->name, i));
    printf(" %s: %lld..%lld certified (%lld bits), %lld..%lld held\n", what, l->lo, l->hi, bits, l->least, l->most);
}

int main(int count, char **words)
{
    int i, verbose = 0;
    Op *o;
    for (i = 1; i < count - 1 && (!strcmp(words[i], "-a") || !strcmp(words[i], "-v")); i++)
        *(words[i][1] == 'a' ? &apart : &verbose) = 1;
    if (i != count - 1)
        stop(2, "usage: snnir_replay [-a] [-v] model.snnu");
    read_file(words[i]);
    for (here.sample = 0; here.sample < samples; here.sample++)
        run(op, ops, 0);
    for (o = op; verbose && o < op + ops; o++) {
        if (o->membrane.data)
            show(o, "membrane", &o->membrane);
        if (o->membrane.data && apart)
            show(o, "current", &o->current);
        if (o->kind == POPULATION || o->kind == INTEGRATE_FIRE)
            show(o, "tracer", &o->tracer);
    }
    printf("samples: %lld\n", samples);
    for (i = 0; i < TALLIES; i++)
        printf("%s: %lld\n", tally_names[i], tally[i]);
    here.train = NULL;
    if (wrong)
        stop(1, "%lld differences from the golden vectors", wrong);
    puts("OK");
    return 0;
}
