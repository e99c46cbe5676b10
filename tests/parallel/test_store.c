// The parameter store: flat buffers, and the tree in which gradients of slots are summed.

#include "parallel/store.h"

#include <string.h>

#include "tests/support/scratch.h"

enum { VALUES = 96, MOST_SLOTS = 33 };

static vj_layout *small_layout(void)
{
    vj_layout *l = NULL;
    const vj_param a = { .name = "a.weight", .rank = 1, .shape = { VALUES } },
                   b = { .name = "b.weight", .rank = 1, .shape = { 5 } };
    assert_ok(vj_layout_create(&l, "encoder", 2));
    assert_ok(vj_layout_unit(l, "one"));
    assert_ok(vj_layout_param(l, &a));
    assert_ok(vj_layout_unit(l, "two"));
    assert_ok(vj_layout_param(l, &b));
    return l;
}

// Values of very different size and both signs: any other order of additions gives other bits somewhere.
static float value(int64_t slot, int64_t i)
{
    uint32_t h = (uint32_t)(slot * 7919 + i * 104729 + 12345);
    h = (h ^ (h >> 15)) * 2246822519u;
    h = (h ^ (h >> 13)) * 3266489917u;
    const float size[4] = { 1, 1e4f, 1e-3f, 37 };
    return ((float)(h >> 8) / 8388608.0f - 1) * size[h & 3];
}

// The definition, written as a recursion over the slot index: pairs of neighbours, then pairs of pairs.
static float tree(int64_t first, int64_t width, int64_t slots, int64_t i)
{
    if (width == 1) return value(first, i);
    const float left = tree(first, width / 2, slots, i);
    return first + width / 2 < slots ? left + tree(first + width / 2, width / 2, slots, i) : left;
}

typedef struct fixture {
    vj_device *device;
    vj_stream *st;
    vj_layout *layout;
    vj_store *store;
} fixture;

static fixture open(const char *device, int64_t slots)
{
    fixture f = { .layout = small_layout() };
    assert_ok(vj_device_open(&f.device, device, 1));
    assert_ok(vj_stream_create(f.device, &f.st));
    const vj_store_spec spec = { .real = vj_device_real(f.device), .trained = true, .slots = slots };
    assert_ok(vj_store_create(&f.store, f.layout, f.device, &spec));
    return f;
}

static void close_all(fixture *f)
{
    vj_stream_destroy(&f->st);
    vj_store_destroy(&f->store);
    assert_int_equal(vj_device_bytes(f->device), 0);
    vj_layout_destroy(&f->layout);
    vj_device_close(&f->device);
}

// The sum of `slots` slots, as a step makes it; every accumulator must come back zeroed whatever an earlier step left.
static void sum_of(fixture *f, int64_t slots, float *out)
{
    float v[VALUES], zero[VALUES];
    vj_store_step_begin(f->store, slots);
    for (int64_t s = 0; s < slots; s++) {
        assert_ok(vj_store_slot_begin(f->store, f->st, true));
        const vj_tensor g = vj_store_grad(f->store, 0);
        assert_ok(vj_download(f->st, zero, VJ_F32, &g));
        for (int64_t i = 0; i < VALUES; i++) assert_true(zero[i] == 0);
        for (int64_t i = 0; i < VALUES; i++) v[i] = value(s, i);
        assert_ok(vj_upload(f->st, &g, v, VJ_F32));
        for (int u = 0; u < 2; u++) assert_ok(vj_unit_reduce(f->store, f->st, u));
        assert_ok(vj_store_slot_end(f->store, f->st));
    }
    assert_ok(vj_store_step_end(f->store, f->st));
    const vj_tensor g = vj_store_grad(f->store, 0);
    assert_ok(vj_download(f->st, out, VJ_F32, &g));
}

static void slots_sum_in_a_tree_on(const char *device)
{
    fixture f = open(device, MOST_SLOTS);
    int64_t in_a_row_differs = 0;
    for (int64_t slots = 1; slots <= MOST_SLOTS; slots++) {
        float got[VALUES];
        sum_of(&f, slots, got);
        int64_t width = 1;
        while (width < slots) width *= 2;
        for (int64_t i = 0; i < VALUES; i++) {
            const float want = tree(0, width, slots, i);
            if (memcmp(&got[i], &want, sizeof want) != 0)
                fail_msg("%d slots, value %d: %.9g, the tree gives %.9g", (int)slots, (int)i, (double)got[i],
                         (double)want);
            float row = 0;
            for (int64_t s = 0; s < slots; s++) row += value(s, i);
            in_a_row_differs += row != want;
        }
    }
    assert_true(in_a_row_differs > 100);   // or these values could not tell a tree from a row
    close_all(&f);
}

static void slots_sum_in_a_tree(void **state)
{
    (void)state;
    slots_sum_in_a_tree_on("cpu");
    slots_sum_in_a_tree_on("far");
}

static void accumulators_are_as_few_as_can_be(void **state)
{
    (void)state;
    static const struct {
        int64_t slots, levels;
    } want[] = { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 3 }, { 5, 4 }, { 8, 4 }, { 9, 5 }, { 3072, 13 } };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_int_equal(vj_store_levels(want[i].slots), want[i].levels);
    fixture f = open("cpu", 1);
    const size_t bytes = (size_t)vj_layout_length(f.layout) * sizeof(float);
    const size_t pages = (bytes + 4095) / 4096 * 4096;
    assert_int_equal(vj_device_bytes(f.device), 4 * pages);   // weights, two moments, one accumulator
    close_all(&f);
}

// Units lie one behind the other; a parameter is where the layout says, in every buffer.
static void views_follow_the_layout(void **state)
{
    (void)state;
    fixture f = open("cpu", 2);
    for (int k = 0; k < VJ_STORE_KINDS; k++) {
        const vj_tensor one = vj_store_unit(f.store, (vj_store_kind)k, 0),
                        two = vj_store_unit(f.store, (vj_store_kind)k, 1);
        assert_int_equal(vj_count(&one), f.layout->units[0].length);
        assert_ptr_equal((char *)one.data + vj_tensor_bytes(&one), two.data);
        const vj_tensor b = vj_store_param(f.store, (vj_store_kind)k, 1);
        assert_ptr_equal(b.data, two.data);
        assert_int_equal(vj_count(&b), 5);
    }
    close_all(&f);
}

// Without a device: the same arithmetic and no memory, for plans.
static void a_store_without_memory_measures(void **state)
{
    (void)state;
    vj_layout *l = small_layout();
    vj_store *s = NULL;
    const vj_store_spec spec = { .real = VJ_F32, .trained = true, .slots = 4 };
    assert_ok(vj_store_create(&s, l, NULL, &spec));
    assert_int_equal(s->length, vj_layout_length(l));
    const vj_tensor g = vj_store_grad(s, 1);
    assert_int_equal(vj_count(&g), 5);
    vj_store_destroy(&s);
    vj_layout_destroy(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_sum_in_a_tree),
        cmocka_unit_test(accumulators_are_as_few_as_can_be),
        cmocka_unit_test(views_follow_the_layout),
        cmocka_unit_test(a_store_without_memory_measures),
    };
    return cmocka_run_group_tests_name("parallel/store", tests, NULL, NULL);
}
