/* The machine's own limit: rows of int8 weights added to int32 sums, one after the other, and nothing else.

   The events of sample s are rows[offsets[s]] to rows[offsets[s + 1]] - 1, with signs of +1 or -1; sums[s] has `columns`
   elements. An event worth several levels is added once, so that the limit multiplies nothing. */
#include <stdint.h>

static void add(int32_t *restrict sum, const int8_t *restrict row, int64_t columns)
{
    for (int64_t column = 0; column < columns; column++)
        sum[column] += row[column];
}

static void subtract(int32_t *restrict sum, const int8_t *restrict row, int64_t columns)
{
    for (int64_t column = 0; column < columns; column++)
        sum[column] -= row[column];
}

void add_rows(const int8_t *weights, int64_t columns, const int32_t *rows, const int8_t *signs, const int64_t *offsets,
              int64_t first, int64_t last, int32_t *sums)
{
    for (int64_t sample = first; sample < last; sample++)
        for (int64_t event = offsets[sample]; event < offsets[sample + 1]; event++) {
            const int8_t *row = weights + rows[event] * columns;
            if (signs[event] > 0)
                add(sums + sample * columns, row, columns);
            else
                subtract(sums + sample * columns, row, columns);
        }
}
