/* Runs the integer program of a bundle and holds it against its golden vectors: docs/bundle.md, as a program.
 *
 *     cc -std=c99 -O2 -o snnir_replay snnir_replay.c
 *     ./snnir_replay [-a] [-v] model.snnu
 *
 * C99 and its standard library, integers only; no memory is asked for once a file is read. Every register is a cell of 8,
 * 16, 32 or 64 bits, the least that its certified range needs, and a value outside that range stops the run: overflow
 * cannot go unseen. Events are added to membranes one by one; with -a they are added up apart in `current` registers, and
 * each step's sum to the membrane. -v prints the certified range of every register and what it held.
 *
 * Exit status: 0 every count and event is as it should be; 1 one is not, or a range does not hold; 2 no good file.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((num)1 << 32) /* of memory, the file's own included */
#define MOST_ITEMS ((num)1 << 40)
#define MOST_VALUE (((num)1 << 47) - 1)
#define MOST_AXES 8

typedef int64_t num;

typedef struct { /* integers of the file, where they lie in it */
    const unsigned char *data;
    num count;
    int cell; /* bytes */
} Array;

typedef struct { /* registers of one kind, and the least and greatest value they held */
    void *data;
    num count, lo, hi, least, most;
    int cell;
} Register;

typedef struct { /* event (t, i) of a window is events[t * n + i]; from step `length` on it is silent */
    Array name;
    num n, steps, length, tracer_lo, tracer_hi;
    Register events;
} Train;

enum { DENSE, CONV, ONE, LIST, CSR };
typedef struct {
    num kind, groups, inputs, outputs, rank; /* dense, conv: of one group */
    num in[MOST_AXES], out[MOST_AXES], stride[MOST_AXES], begin[MOST_AXES], dilation[MOST_AXES], taps[MOST_AXES];
    Train *source;
    Array weights, index, other; /* one: weight of each address; list: rows, columns; csr: targets, offsets */
    Array offsets, neurons;      /* current c goes to neurons[offsets[c] .. offsets[c + 1] - 1]; empty: to neuron c */
} Synapse;

typedef struct {
    Train *input, *initial, *following, *final, held;
    Register level, before;
} State;
typedef struct {
    Train *input, *source; /* of a result: the train outside, and the body's */
    num at_once;
} Link;

enum { INPUT, CONSTANT, ROUTE, POPULATION, READOUT, MAX, PRODUCT, SCAN };
typedef struct {
    num kind, lo, hi, width, synapses, sources, windows;
    Train *train, **source;
    Synapse *synapse;
    Array levels, map, initial, theta, row;
    Register membrane, current, tracer, left, right;
    Array counts, sizes, addresses, values; /* golden: settled counts; events as in docs/bundle.md */
    num golden_steps, cursor;
    num body, reverse, states, elements, shared, results; /* scan: its body are the `body` ops that follow */
    State *state;
    Link *element, *share, *result;
} Op;

enum { RELAY, REPLAY, GRADED };
static num delivery, carry, samples, trains, ops;
static Train *train;
static Op *op;
static int apart;
static struct { num sample, window, step; const Train *train; } here;
static struct { num additions, multiplied, thresholds, maxima, products, spikes, counts, events, wrong; } tally;

/* What goes wrong. */

static void stop(int status, const char *format, ...)
{
    va_list list;
    fputs("snnir_replay: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(status);
}

static const char *name_of(const Train *t)
{
    static char text[81];
    num i, n = t->name.count < 80 ? t->name.count : 80;
    for (i = 0; i < n; i++)
        text[i] = t->name.data[i] < 32 || t->name.data[i] == 127 ? '?' : (char)t->name.data[i];
    text[n] = 0;
    return text;
}

/* Reading the file: a row of 64-bit words, least byte first. */

static unsigned char *file;
static num place, end, taken;

static void bad(const char *what)
{
    stop(2, "byte %" PRId64 ": %s; write the file again with `snnir bundle --emit c`", place, what);
}

static uint64_t raw(const unsigned char *bytes, int cell)
{
    uint64_t value = 0;
    while (cell-- > 0)
        value = value << 8 | bytes[cell];
    return value;
}

static num decode(const unsigned char *bytes, int cell) /* two's complement */
{
    uint64_t value = raw(bytes, cell), sign = (uint64_t)1 << (8 * cell - 1);
    return value & sign ? -(num)(~value & (sign - 1)) - 1 : (num)value;
}

static num at(Array a, num i) { return decode(a.data + i * a.cell, a.cell); }

static num word(num lo, num hi)
{
    num value;
    if (end - place < 8)
        bad("it ends too early");
    value = decode(file + place, 8);
    if (value < lo || value > hi)
        bad("a number that cannot stand here");
    place += 8;
    return value;
}

static num how_many(void) { return word(0, (end - place) / 8); }

static num times(num a, num b)
{
    if (a < 0 || b < 0 || (b && a > MOST_ITEMS / b))
        bad("sizes are too large");
    return a * b;
}

/* `cell` and `count`, then the integers, filled up to whole words. They must lie in lo..hi; count < 0: any number. */
static Array array(num count, num lo, num hi)
{
    Array a;
    num i, bytes;
    a.cell = (int)word(1, 8);
    if (a.cell != 1 && a.cell != 2 && a.cell != 4 && a.cell != 8)
        bad("integers have 1, 2, 4 or 8 bytes");
    a.count = word(0, end);
    bytes = (times(a.count, a.cell) + 7) / 8 * 8;
    if (bytes > end - place)
        bad("it ends too early");
    if (count >= 0 && a.count != count)
        bad("another number of integers than there should be");
    a.data = file + place;
    for (i = 0; i < a.count; i++)
        if (at(a, i) < lo || at(a, i) > hi)
            bad("an integer in this list is out of its range");
    place += bytes;
    return a;
}

static Array offsets(num count, num last)
{
    Array a = array(count + 1, 0, last);
    num i;
    for (i = 0; i < count; i++)
        if (at(a, i) > at(a, i + 1))
            bad("offsets must grow");
    if (at(a, 0) != 0 || at(a, count) != last)
        bad("offsets must go from 0 to the end");
    return a;
}

static void *take(num count, num size)
{
    void *memory;
    taken += times(count, size) + 16;
    if (taken > MOST_BYTES)
        stop(2, "it needs more than %" PRId64 " bytes of memory", MOST_BYTES);
    memory = calloc((size_t)count + 1, (size_t)size);
    if (!memory)
        stop(2, "no memory");
    return memory;
}

static Register registers(num count, num lo, num hi)
{
    Register r = {0};
    r.count = count, r.lo = lo, r.hi = hi;
    r.cell = lo >= INT8_MIN && hi <= INT8_MAX ? 1 : lo >= INT16_MIN && hi <= INT16_MAX ? 2 : lo >= INT32_MIN && hi <= INT32_MAX ? 4 : 8;
    r.data = take(count, r.cell);
    return r;
}

static Register certified(num count)
{
    num lo = word(-MOST_VALUE, 0);
    return registers(count, lo, word(0, MOST_VALUE));
}

static Train *a_train(num n)
{
    Train *t = train + word(0, trains - 1);
    if (n >= 0 && t->n != n)
        bad("a train of another size than it should have");
    return t;
}

/* Registers and trains. */

static num get(const Register *r, num i)
{
    switch (r->cell) {
    case 1: return ((const int8_t *)r->data)[i];
    case 2: return ((const int16_t *)r->data)[i];
    case 4: return ((const int32_t *)r->data)[i];
    default: return ((const int64_t *)r->data)[i];
    }
}

static void put(Register *r, num i, num value)
{
    if (value < r->lo || value > r->hi)
        stop(1, "%s: sample %" PRId64 ", window %" PRId64 ", step %" PRId64 ": a register or event [%" PRId64 "] would be %" PRId64
             ", certified is %" PRId64 "..%" PRId64,
             name_of(here.train), here.sample, here.window, here.step, i, value, r->lo, r->hi);
    if (value < r->least)
        r->least = value;
    if (value > r->most)
        r->most = value;
    switch (r->cell) {
    case 1: ((int8_t *)r->data)[i] = (int8_t)value; break;
    case 2: ((int16_t *)r->data)[i] = (int16_t)value; break;
    case 4: ((int32_t *)r->data)[i] = (int32_t)value; break;
    default: ((int64_t *)r->data)[i] = value;
    }
}

static void clear(Register *r)
{
    if (r->data)
        memset(r->data, 0, (size_t)(r->count * r->cell));
}

static num event(const Train *x, num t, num i) { return t < x->length ? get(&x->events, t * x->n + i) : 0; }

/* Add `value` to an event; what was not given an event is silent. */
static void emit(Train *y, num t, num i, num value)
{
    if (!value)
        return;
    if (t >= y->steps)
        stop(1, "%s: sample %" PRId64 ", window %" PRId64 ": an event at step %" PRId64 ", certified are %" PRId64 " steps",
             name_of(y), here.sample, here.window, t, y->steps);
    for (; y->length <= t; y->length++)
        memset((char *)y->events.data + y->length * y->n * y->events.cell, 0, (size_t)(y->n * y->events.cell));
    here.train = y;
    put(&y->events, t * y->n + i, get(&y->events, t * y->n + i) + value);
}

static num level(const Train *x, num i)
{
    num t, sum = 0;
    for (t = 0; t < x->length; t++)
        sum += event(x, t, i);
    return sum;
}

/* Add events of x, from address x_first on, to those of y from y_first on. */
static void copy(Train *y, num y_first, const Train *x, num x_first, num n)
{
    num t, i;
    for (t = 0; t < x->length; t++)
        for (i = 0; i < n; i++)
            emit(y, t, y_first + i, event(x, t, x_first + i));
}

static void send(Train *y, num i, num value, num at_once)
{
    num t, size = value < 0 ? -value : value;
    if (at_once)
        emit(y, 0, i, value);
    else
        for (t = 0; t < size; t++)
            emit(y, t, i, value < 0 ? -1 : 1);
}

/* Synapses. */

static void arrive(Op *o, const Synapse *s, num current, num weight, num x)
{
    Register *r = apart ? &o->current : &o->membrane;
    num j = current, last = current + 1, neuron;
    if (s->offsets.count)
        j = at(s->offsets, current), last = at(s->offsets, current + 1);
    for (; j < last; j++) {
        neuron = s->offsets.count ? at(s->neurons, j) : j;
        put(r, neuron, get(r, neuron) + weight * x); /* x = 1: an addition, x = -1: a subtraction */
        tally.additions++;
        tally.multiplied += x != 1 && x != -1;
    }
}

static void convolve(Op *o, const Synapse *s, num a, num x)
{
    num axis, m, tap, rest, k, from, kernel = 1, size = 1, positions = 1, channel, position[MOST_AXES];
    for (axis = 0; axis < s->rank; axis++)
        kernel *= s->taps[axis], size *= s->in[axis], positions *= s->out[axis];
    channel = a / size;
    for (axis = s->rank, rest = a % size; axis-- > 0; rest /= s->in[axis])
        position[axis] = rest % s->in[axis];
    for (tap = 0; tap < kernel; tap++) {
        num target = 0, stride = 1;
        for (axis = s->rank, rest = tap; axis-- > 0; rest /= s->taps[axis]) {
            k = rest % s->taps[axis];
            from = position[axis] + s->begin[axis] - k * s->dilation[axis]; /* = output position * stride */
            if (from < 0 || from % s->stride[axis] || from / s->stride[axis] >= s->out[axis])
                break;
            target += from / s->stride[axis] * stride;
            stride *= s->out[axis];
        }
        if (axis >= 0)
            continue;
        for (m = channel / s->inputs * s->outputs; m < (channel / s->inputs + 1) * s->outputs; m++)
            arrive(o, s, m * positions + target, at(s->weights, (m * s->inputs + channel % s->inputs) * kernel + tap), x);
    }
}

static void deliver(Op *o, const Synapse *s, num t)
{
    num a, k, x;
    if (t >= s->source->length)
        return;
    if (s->kind == LIST) {
        for (k = 0; k < s->weights.count; k++)
            if ((x = event(s->source, t, at(s->other, k))) != 0)
                arrive(o, s, at(s->index, k), at(s->weights, k), x);
        return;
    }
    for (a = 0; a < s->source->n; a++) {
        if ((x = event(s->source, t, a)) == 0)
            continue;
        if (s->kind == DENSE)
            for (k = 0; k < s->outputs; k++)
                arrive(o, s, a / s->inputs * s->outputs + k, at(s->weights, k * s->inputs + a % s->inputs), x);
        else if (s->kind == CONV)
            convolve(o, s, a, x);
        else if (s->kind == ONE)
            arrive(o, s, a, at(s->weights, at(s->index, a)), x);
        else
            for (k = at(s->other, a); k < at(s->other, a + 1); k++)
                arrive(o, s, at(s->index, k), at(s->weights, k), x);
    }
}

/* Ops. */

static num longest(const Op *o)
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
    here.step = t;
    clear(&o->current);
    for (k = 0; k < o->synapses; k++)
        deliver(o, &o->synapse[k], t);
    for (i = 0; apart && i < o->train->n; i++)
        put(&o->membrane, i, get(&o->membrane, i) + get(&o->current, i));
}

/* What neuron i fires, given its membrane and tracer. */
static num fire(const Op *o, num i)
{
    num v = get(&o->membrane, i), s = get(&o->tracer, i), r = at(o->row, i), up, down;
    tally.thresholds += 2;
    if (o->width) { /* staircase */
        up = s < o->hi && v >= at(o->theta, r * o->width + s - o->lo);
        down = s > o->lo && v < at(o->theta, r * o->width + s - o->lo - 1);
    } else {
        up = v >= at(o->theta, r) && s < o->hi;
        down = v < 0 && s > o->lo;
    }
    return up ? 1 : down ? -1 : 0;
}

static void population(Op *o, num fresh)
{
    num t, i, y, fired, steps = longest(o);
    for (i = 0; fresh && i < o->train->n; i++) {
        num theta = o->width ? 0 : at(o->theta, at(o->row, i));
        put(&o->membrane, i, at(o->initial, i) + theta / 2);
        put(&o->tracer, i, 0);
    }
    for (t = 0, fired = 1; t < steps || fired; t++) {
        fired = t < steps;
        if (t < steps)
            receive(o, t);
        for (i = 0, here.step = t; i < o->train->n; i++) {
            if ((y = fire(o, i)) == 0)
                continue;
            if (!o->width)
                put(&o->membrane, i, get(&o->membrane, i) - y * at(o->theta, at(o->row, i)));
            put(&o->tracer, i, get(&o->tracer, i) + y);
            emit(o->train, t, i, y);
            tally.spikes++;
            fired = 1;
        }
    }
}

static void readout(Op *o, num fresh)
{
    num t, i, steps = longest(o);
    for (i = 0; fresh && i < o->train->n; i++)
        put(&o->membrane, i, at(o->initial, i));
    for (t = 0; t < steps; t++)
        receive(o, t);
}

static void maximum(Op *o)
{
    num t, i, j, m, steps = longest(o);
    for (t = 0; t < steps; t++)
        for (i = 0, here.step = t; i < o->train->n; i++) {
            for (j = i * o->width; j < (i + 1) * o->width; j++)
                put(&o->left, j, get(&o->left, j) + event(o->source[0], t, j));
            for (j = i * o->width, m = get(&o->left, j); j < (i + 1) * o->width; j++, tally.maxima++)
                m = get(&o->left, j) > m ? get(&o->left, j) : m;
            emit(o->train, t, i, m - get(&o->tracer, i));
            put(&o->tracer, i, m);
        }
}

static void product(Op *o)
{
    num t, i, a, b, da, db, steps = longest(o);
    for (t = 0; t < steps; t++)
        for (i = 0, here.step = t; i < o->train->n; i++) {
            a = get(&o->left, i), b = get(&o->right, i);
            da = event(o->source[0], t, i), db = event(o->source[1], t, i);
            if (!da && !db)
                continue;
            emit(o->train, t, i, da * (b + db) + a * db);
            put(&o->left, i, a + da);
            put(&o->right, i, b + db);
            tally.products += 2;
        }
}

static void route(Op *o)
{
    num t, i, k, a, steps = longest(o);
    for (t = 0; t < steps; t++)
        for (i = 0, here.step = t; i < o->train->n; i++) {
            for (k = 0, a = at(o->map, i); a >= 0 && a >= o->source[k]->n; k++)
                a -= o->source[k]->n;
            if (a >= 0)
                emit(o->train, t, i, event(o->source[k], t, a));
        }
}

/* Hold an op's counts and events against the golden ones. */

static void expect(num found, num expected, const char *what, num i)
{
    if (found != expected && tally.wrong++ < 5)
        fprintf(stderr, "%s: sample %" PRId64 ", window %" PRId64 ": %s [%" PRId64 "] is %" PRId64 ", expected %" PRId64 "\n",
                name_of(here.train), here.sample, here.window, what, i, found, expected);
}

static void check(Op *o)
{
    num i, t, k, there, n = o->train->n, windows = o->windows, first = here.sample * windows + here.window;
    for (i = 0; i < n; i++, tally.counts++)
        expect(o->kind == INPUT ? at(o->levels, first * n + i)
               : o->kind == READOUT ? get(&o->membrane, i)
               : o->kind == PRODUCT ? get(&o->left, i) * get(&o->right, i) : get(&o->tracer, i),
               at(o->counts, first * n + i), "count", i);
    if (o->kind == READOUT)
        return;
    for (t = 0; t < o->train->length || t < o->golden_steps; t++) {
        num expected = t < o->golden_steps ? at(o->sizes, first * o->golden_steps + t) : 0;
        for (i = 0, there = 0; i < n; i++)
            there += event(o->train, t, i) != 0;
        expect(there, expected, "number of events of step", t);
        for (k = 0; k < expected && o->cursor < o->addresses.count; k++, o->cursor++, tally.events++)
            expect(event(o->train, t, at(o->addresses, o->cursor)), at(o->values, o->cursor), "event of step", t);
    }
}

static void run(Op *first, num count, num window);

static void scan(Op *o)
{
    num k, i, j, e, last;
    for (j = 0; j < o->results; j++)
        o->result[j].input->length = 0;
    for (k = 0; k < o->windows; k++) {
        num resumed = carry && k > 0;
        e = o->reverse ? o->windows - 1 - k : k;
        last = o->reverse ? e + 1 : e - 1; /* the element before it */
        here.window = k;
        for (j = 0; j < o->shared; j++) {
            Link *l = &o->share[j];
            l->input->length = 0;
            if (!resumed)
                copy(l->input, 0, l->source, 0, l->input->n);
        }
        for (j = 0; j < o->elements; j++) {
            Link *l = &o->element[j];
            num n = l->input->n;
            l->input->length = 0;
            if (!resumed)
                copy(l->input, 0, l->source, e * n, n);
            for (i = 0; resumed && i < n; i++)
                send(l->input, i, level(l->source, e * n + i) - level(l->source, last * n + i), l->at_once);
        }
        for (j = 0; j < o->states; j++) {
            State *s = &o->state[j];
            s->input->length = 0, here.train = s->input;
            for (i = 0; i < s->input->n; i++) {
                if (k == 0)
                    put(&s->level, i, level(s->initial, i)), put(&s->before, i, 0);
                if (delivery != REPLAY)
                    send(s->input, i, get(&s->level, i) - (resumed ? get(&s->before, i) : 0), delivery == GRADED);
                else if (carry && k == 1)
                    emit(s->input, 0, i, -get(&s->before, i));
            }
            if (delivery == REPLAY)
                copy(s->input, 0, k ? &s->held : s->initial, 0, s->input->n);
        }
        run(o + 1, o->body, k);
        for (j = 0; j < o->states; j++) {
            State *s = &o->state[j];
            here.train = s->input;
            for (i = 0; i < s->input->n; i++) {
                put(&s->before, i, get(&s->level, i));
                put(&s->level, i, (resumed ? get(&s->level, i) : 0) + level(s->following, i));
            }
            s->held.length = 0;
            copy(&s->held, 0, s->following, 0, s->input->n);
        }
        for (j = 0; j < o->results; j++) {
            Link *l = &o->result[j];
            num n = l->source->n;
            for (i = 0; resumed && i < n; i++) /* outside, all starts from 0: the level first, then its change */
                emit(l->input, 0, e * n + i, level(l->input, last * n + i));
            copy(l->input, e * n, l->source, 0, n);
        }
    }
    for (j = 0; j < o->states; j++) {
        State *s = &o->state[j];
        s->final->length = 0;
        for (i = 0; carry && o->windows > 1 && i < s->final->n; i++)
            emit(s->final, 0, i, get(&s->before, i));
        copy(s->final, 0, &s->held, 0, s->final->n);
    }
}

static void run(Op *first, num count, num window)
{
    Op *o;
    for (o = first; o < first + count; o += 1 + o->body) {
        num i, n, fresh = !carry || window == 0;
        here.train = o->train, here.window = window, here.step = 0;
        if (o->kind == SCAN) {
            scan(o);
            continue;
        }
        n = o->train->n;
        o->train->length = 0;
        if (fresh)
            clear(&o->left), clear(&o->right), clear(&o->tracer);
        if (o->kind == INPUT)
            for (i = (here.sample * o->windows + window) * n; i < (here.sample * o->windows + window + 1) * n; i++)
                emit(o->train, 0, i % n, at(o->levels, i) - (fresh ? 0 : at(o->levels, i - n)));
        else if (o->kind == CONSTANT)
            for (i = 0; fresh && i < n; i++)
                emit(o->train, 0, i, at(o->levels, i));
        else if (o->kind == ROUTE)
            route(o);
        else if (o->kind == POPULATION)
            population(o, fresh);
        else if (o->kind == READOUT)
            readout(o, fresh);
        else if (o->kind == MAX)
            maximum(o);
        else
            product(o);
        if (o->kind != CONSTANT && o->kind != ROUTE)
            check(o);
    }
}

/* The parts of the file, in their order. */

static void read_synapse(Synapse *s, num neurons)
{
    num axis, inputs, outputs, currents, kernel = 1;
    s->source = a_train(-1);
    s->kind = word(DENSE, CSR);
    currents = word(0, MOST_VALUE);
    inputs = outputs = 1;
    if (s->kind == DENSE || s->kind == CONV) {
        s->groups = word(0, MOST_VALUE), s->inputs = word(0, MOST_VALUE), s->outputs = word(0, MOST_VALUE);
        inputs = times(s->groups, s->inputs), outputs = times(s->groups, s->outputs);
    }
    if (s->kind == CONV) {
        s->rank = word(1, MOST_AXES);
        for (axis = 0; axis < s->rank; axis++) {
            inputs = times(inputs, s->in[axis] = word(1, MOST_ITEMS)), outputs = times(outputs, s->out[axis] = word(1, MOST_ITEMS));
            s->stride[axis] = word(1, MOST_ITEMS), s->begin[axis] = word(-MOST_ITEMS, MOST_ITEMS);
            s->dilation[axis] = word(1, 1 << 20), kernel = times(kernel, s->taps[axis] = word(1, 1 << 20));
        }
    }
    if (s->kind > CONV)
        inputs = s->source->n, outputs = s->kind == ONE ? inputs : currents;
    if (inputs != s->source->n || outputs != currents)
        bad("the sizes of a synapse do not fit what it is between");
    s->weights = array(s->kind == DENSE ? times(s->outputs, s->inputs)
                       : s->kind == CONV ? times(times(s->groups, s->outputs), times(s->inputs, kernel)) : -1, INT16_MIN, INT16_MAX);
    if (s->kind == ONE)
        s->index = array(inputs, 0, s->weights.count - 1);
    if (s->kind == LIST || s->kind == CSR)
        s->index = array(s->weights.count, 0, currents - 1);
    if (s->kind == LIST)
        s->other = array(s->weights.count, 0, inputs - 1);
    if (s->kind == CSR)
        s->other = offsets(inputs, s->weights.count);
    if (word(0, 1)) {
        s->neurons = array(neurons, 0, neurons - 1);
        s->offsets = offsets(currents, neurons);
    } else if (currents != neurons)
        bad("a synapse has another number of currents than there are neurons");
}

static void read_summing(Op *o)
{
    num k;
    o->synapses = how_many();
    o->synapse = take(o->synapses, sizeof(Synapse));
    for (k = 0; k < o->synapses; k++)
        read_synapse(&o->synapse[k], o->train->n);
    o->initial = array(o->train->n, -MOST_VALUE, MOST_VALUE);
    o->membrane = certified(o->train->n);
    o->current = certified(o->train->n);
}

static void read_sources(Op *o, num count)
{
    num k;
    o->sources = count;
    o->source = take(count, sizeof(Train *));
    for (k = 0; k < count; k++)
        o->source[k] = a_train(-1);
}

static Link *read_links(num *count, num elements)
{
    num k, n = *count = how_many();
    Link *l = take(n, sizeof(Link));
    for (k = 0; k < n; k++) {
        l[k].input = a_train(-1), l[k].source = a_train(-1);
        l[k].at_once = elements ? word(0, 1) : 0;
    }
    return l;
}

static void read_scan(Op *o)
{
    num k, lo, hi;
    o->windows = word(1, 1 << 24), o->reverse = word(0, 1), o->body = word(0, ops);
    o->states = how_many();
    o->state = take(o->states, sizeof(State));
    for (k = 0; k < o->states; k++) {
        State *s = &o->state[k];
        s->input = a_train(-1);
        s->initial = a_train(s->input->n), s->following = a_train(s->input->n), s->final = a_train(s->input->n);
        s->held = *s->following;
        s->held.events = registers(s->held.n * s->held.steps, s->following->events.lo, s->following->events.hi);
        lo = s->initial->tracer_lo < s->following->tracer_lo ? s->initial->tracer_lo : s->following->tracer_lo;
        hi = s->initial->tracer_hi > s->following->tracer_hi ? s->initial->tracer_hi : s->following->tracer_hi;
        s->level = registers(s->input->n, lo, hi), s->before = registers(s->input->n, lo, hi);
    }
    o->element = read_links(&o->elements, 1);
    o->share = read_links(&o->shared, 0);
    o->result = read_links(&o->results, 0);
    for (k = 0; k < o->elements; k++)
        if (o->element[k].source->n != times(o->element[k].input->n, o->windows))
            bad("a sequence has another length than the scan");
    for (k = 0; k < o->shared; k++)
        if (o->share[k].source->n != o->share[k].input->n)
            bad("a shared train changes its size");
    for (k = 0; k < o->results; k++)
        if (o->result[k].input->n != times(o->result[k].source->n, o->windows))
            bad("a result has another length than the scan");
}

static void read_golden(Op *o)
{
    num i, total = 0, cells = times(samples, o->windows), n = o->train->n;
    o->counts = array(times(cells, n), -MOST_VALUE, MOST_VALUE);
    if (o->kind == READOUT)
        return;
    o->golden_steps = word(0, 1 << 24);
    o->sizes = array(times(cells, o->golden_steps), 0, n);
    for (i = 0; i < o->sizes.count; i++)
        total += at(o->sizes, i);
    o->addresses = array(total, 0, n - 1);
    o->values = array(total, -MOST_VALUE, MOST_VALUE);
}

static void small(const Train *t)
{
    num most = (num)1 << 30;
    if (t->tracer_lo < -most || t->tracer_hi > most || t->events.lo < -most || t->events.hi > most)
        bad("a product of trains of more than 30 bits");
}

static void read_op(Op *o, num windows)
{
    num k, total = 0;
    o->kind = word(INPUT, SCAN);
    if (o->kind == SCAN) {
        if (windows)
            bad("a scan within a scan");
        read_scan(o);
        return;
    }
    o->windows = windows ? windows : 1;
    o->train = a_train(-1);
    switch (o->kind) {
    case INPUT:
        o->levels = array(times(times(samples, o->windows), o->train->n), o->train->tracer_lo, o->train->tracer_hi);
        break;
    case CONSTANT:
        o->levels = array(o->train->n, o->train->tracer_lo, o->train->tracer_hi);
        break;
    case ROUTE:
        read_sources(o, how_many());
        for (k = 0; k < o->sources; k++)
            total += o->source[k]->n;
        o->map = array(o->train->n, -1, total - 1);
        break;
    case POPULATION:
        read_summing(o);
        o->tracer = certified(o->train->n);
        o->lo = word(-MOST_ITEMS, o->tracer.lo), o->hi = word(o->tracer.hi, MOST_ITEMS);
        o->width = word(0, 1) ? o->hi - o->lo : 0;
        o->theta = array(-1, -MOST_VALUE, MOST_VALUE);
        if (o->width && o->theta.count % o->width)
            bad("a staircase has one threshold for each level");
        o->row = array(o->train->n, 0, o->theta.count / (o->width ? o->width : 1) - 1);
        break;
    case READOUT:
        read_summing(o);
        break;
    case MAX:
        read_sources(o, 1);
        o->width = word(1, MOST_ITEMS);
        if (o->source[0]->n != times(o->width, o->train->n))
            bad("a maximum over another number of addresses than its source has");
        o->left = registers(o->source[0]->n, o->source[0]->tracer_lo, o->source[0]->tracer_hi);
        o->tracer = registers(o->train->n, o->train->tracer_lo, o->train->tracer_hi);
        break;
    default:
        read_sources(o, 2);
        if (o->source[0]->n != o->train->n || o->source[1]->n != o->train->n)
            bad("a product of trains of different sizes");
        small(o->source[0]), small(o->source[1]);
        o->left = registers(o->train->n, o->source[0]->tracer_lo, o->source[0]->tracer_hi);
        o->right = registers(o->train->n, o->source[1]->tracer_lo, o->source[1]->tracer_hi);
    }
    if (o->kind != CONSTANT && o->kind != ROUTE)
        read_golden(o);
}

static void read_file(const char *path)
{
    static const char magic[8] = "snnu\0\0\0\1";
    FILE *stream = fopen(path, "rb");
    uint64_t sum = 14695981039346656037u; /* FNV-1a of all after it */
    num i, left = 0, windows = 0;
    long size;
    if (!stream || fseek(stream, 0, SEEK_END) || (size = ftell(stream)) < 0 || fseek(stream, 0, SEEK_SET))
        stop(2, "%s cannot be read", path);
    end = size;
    file = take(end, 1);
    if (fread(file, 1, (size_t)end, stream) != (size_t)end)
        stop(2, "%s cannot be read", path);
    fclose(stream);
    if (end < 24 || end % 8 || memcmp(file, magic, 8))
        stop(2, "%s is no unpacked bundle of version 1; write it with `snnir bundle --emit c`", path);
    for (i = 16; i < end; i += 8)
        sum = (sum ^ raw(file + i, 8)) * 1099511628211u;
    if (sum != raw(file + 8, 8))
        stop(2, "%s was changed or damaged: its checksum differs; write it again with `snnir bundle --emit c`", path);
    place = 16;
    delivery = word(RELAY, GRADED), carry = word(0, 1), samples = word(1, 1 << 24);
    trains = how_many();
    train = take(trains, sizeof(Train));
    for (i = 0; i < trains; i++) {
        Train *t = &train[i];
        num lo, hi;
        t->name = array(-1, INT8_MIN, INT8_MAX);
        if (t->name.cell != 1)
            bad("a name has cells of one byte");
        t->n = word(0, INT32_MAX), t->steps = word(0, 1 << 24);
        t->tracer_lo = word(-MOST_VALUE, 0), t->tracer_hi = word(0, MOST_VALUE);
        lo = word(-MOST_VALUE, 0), hi = word(0, MOST_VALUE);
        t->events = registers(times(t->n, t->steps), lo, hi);
    }
    ops = how_many();
    op = take(ops, sizeof(Op));
    for (i = 0; i < ops; i++, left -= left > 0) {
        windows = left ? windows : 0;
        read_op(&op[i], windows);
        if (op[i].kind == SCAN) {
            if (op[i].body > ops - 1 - i)
                bad("the body of a scan has more ops than there are");
            windows = op[i].windows, left = op[i].body + 1;
        }
    }
    if (place != end)
        bad("more than the program");
}

static void show(const char *what, const Op *o, const Register *r)
{
    if (r->data)
        printf("%s %s: certified %" PRId64 "..%" PRId64 ", held %" PRId64 "..%" PRId64 " in %d bits\n", name_of(o->train), what, r->lo,
               r->hi, r->least, r->most, 8 * r->cell);
}

int main(int count, char **word_of)
{
    num i, verbose = 0;
    int at_word = 1;
    for (; at_word < count - 1; at_word++) {
        if (!strcmp(word_of[at_word], "-a"))
            apart = 1;
        else if (!strcmp(word_of[at_word], "-v"))
            verbose = 1;
        else
            break;
    }
    if (at_word != count - 1)
        stop(2, "usage: snnir_replay [-a] [-v] model.snnu");
    read_file(word_of[at_word]);
    for (here.sample = 0; here.sample < samples; here.sample++)
        run(op, ops, 0);
    for (i = 0; verbose && i < ops; i++) {
        if (op[i].kind != POPULATION && op[i].kind != READOUT)
            continue;
        show("membrane", &op[i], &op[i].membrane);
        if (apart)
            show("current", &op[i], &op[i].current);
        show("tracer", &op[i], &op[i].tracer);
    }
    printf("samples %" PRId64 "\ncounts %" PRId64 "\nevents %" PRId64 "\n", samples, tally.counts, tally.events);
    printf("synaptic additions %" PRId64 "\nof them with a multiplication %" PRId64 "\n", tally.additions, tally.multiplied);
    printf("threshold comparisons %" PRId64 "\nmaximum comparisons %" PRId64 "\n", tally.thresholds, tally.maxima);
    printf("product multiplications %" PRId64 "\nspikes %" PRId64 "\n", tally.products, tally.spikes);
    if (tally.wrong)
        stop(1, "%" PRId64 " differences from the golden vectors", tally.wrong);
    puts("OK");
    return 0;
}
