// runtime/base/h5.c
//
// HDF5 1.10 behind a narrow door. Three rules make it safe and repeatable here:
//   - every library call happens under one mutex of ours, so that a fork (see probe_in_child) never copies a library lock
//     that another thread holds, and so that a build without the thread-safe option works too;
//   - payload is never moved by the library: datasets are contiguous and allocated at once, their bytes are read and
//     written at the offset that vj_h5_info and vj_h5_dataset tell;
//   - no times and no other accidents of the day are stored: the same content gives the same bytes.
//
// Easy to get wrong: H5Dget_offset is HADDR_UNDEF for chunked, compact and unallocated datasets, and the extent that it
// tells may lie beyond the end of a crafted file, so every extent is checked against the file's size.

#include "runtime/base/h5.h"

#define H5_USE_110_API
#include <hdf5.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

enum { PROBE_SECONDS = 20, ALIGN_THRESHOLD = 1 << 20, ALIGN = 4096, MAX_OBJECTS = 100000 };

struct vj_h5 {
    char *path;
    hid_t file;
    int fd;              // reading only
    int64_t file_bytes;  // reading only
    bool writing;
    vj_status first_error;
    char *first_text;
};

static pthread_mutex_t h5_mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock(void)
{
    pthread_mutex_lock(&h5_mutex);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);   // per thread in the library: its error prints go nowhere
}

static void unlock(void) { pthread_mutex_unlock(&h5_mutex); }

static herr_t take_innermost(unsigned n, const H5E_error2_t *error, void *context)
{
    (void)n;
    const char **text = context;
    if (error->desc != NULL && error->desc[0] != '\0') *text = error->desc;
    return 0;
}

// The library's own words for its last error; call it before any other library call.
static const char *library_text(void)
{
    static __thread char copy[200];
    const char *text = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, &text);
    snprintf(copy, sizeof copy, "%s", text);
    return copy;
}

static hid_t file_type(vj_h5_type type)
{
    const hid_t types[] = { H5T_STD_U8LE, H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_U64LE, H5T_STD_I32LE, H5T_STD_I64LE,
                            H5T_IEEE_F32LE, H5T_IEEE_F64LE };
    return types[type];
}

size_t vj_h5_type_size(vj_h5_type type)
{
    static const size_t sizes[] = { 1, 2, 4, 8, 4, 8, 4, 8 };
    return sizes[type];
}

// ---- writing -------------------------------------------------------------------------------------------------------

// Remembers the first failure of a written file, so that vj_h5_close cannot call it whole.
static vj_status note(vj_h5 *f, vj_status status)
{
    if (status != VJ_OK && f->first_error == VJ_OK) {
        f->first_error = status;
        f->first_text = vj_strdup(vj_error_text());
    }
    return status;
}

static vj_h5 *new_handle(const char *path)
{
    vj_h5 *f = calloc(1, sizeof *f);
    if (f == NULL) return NULL;
    f->path = vj_strdup(path);
    f->file = -1;
    f->fd = -1;
    return f;
}

static void free_handle(vj_h5 *f)
{
    vj_io_close(&f->fd);
    free(f->first_text);
    free(f->path);
    free(f);
}

vj_status vj_h5_create(vj_h5 **out, const char *path)
{
    *out = NULL;
    vj_h5 *f = new_handle(path);
    VJ_CHECK(f != NULL, VJ_ERR_NOMEM, "no memory for a file handle");
    f->writing = true;
    lock();
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS), fcpl = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_libver_bounds(fapl, H5F_LIBVER_V110, H5F_LIBVER_V110);   // superblock and object headers with checksums
    H5Pset_alignment(fapl, ALIGN_THRESHOLD, ALIGN);
    H5Pset_file_locking(fapl, 0, 1);
    H5Pset_obj_track_times(fcpl, 0);
    errno = 0;
    f->file = H5Fcreate(path, H5F_ACC_EXCL, fcpl, fapl);
    const int error = errno;
    const char *text = library_text();
    H5Pclose(fapl);
    H5Pclose(fcpl);
    unlock();
    if (f->file < 0) {
        free_handle(f);
        VJ_FAIL(VJ_ERR_IO, "cannot create %s: %s", path, error != 0 ? strerror(error) : text);
    }
    *out = f;
    return VJ_OK;
}

vj_status vj_h5_group(vj_h5 *f, const char *path)
{
    lock();
    hid_t gcpl = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(gcpl, 0);
    const hid_t group = H5Gcreate2(f->file, path, H5P_DEFAULT, gcpl, H5P_DEFAULT);
    const char *text = group < 0 ? library_text() : "";
    H5Pclose(gcpl);
    if (group >= 0) H5Gclose(group);
    unlock();
    if (group < 0) return note(f, vj_fail(VJ_ERR_IO, "%s: cannot make group %s: %s", f->path, path, text));
    return VJ_OK;
}

vj_status vj_h5_dataset(vj_h5 *f, const char *path, vj_h5_type type, int rank, const int64_t *dims, int64_t *offset)
{
    VJ_ASSERT(rank == 1 || rank == 2);
    hsize_t sizes[2] = { 0, 0 };
    for (int i = 0; i < rank; i++) {
        VJ_ASSERT(dims[i] >= 0);
        sizes[i] = (hsize_t)dims[i];
    }
    lock();
    hid_t space = H5Screate_simple(rank, sizes, NULL), dcpl = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(dcpl, H5D_CONTIGUOUS);
    H5Pset_alloc_time(dcpl, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(dcpl, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(dcpl, 0);
    const hid_t set = H5Dcreate2(f->file, path, file_type(type), space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    const char *text = set < 0 ? library_text() : "";
    haddr_t at = HADDR_UNDEF;
    if (set >= 0) {
        at = H5Dget_offset(set);
        H5Dclose(set);
    }
    H5Sclose(space);
    H5Pclose(dcpl);
    unlock();
    if (set < 0) return note(f, vj_fail(VJ_ERR_IO, "%s: cannot make dataset %s: %s", f->path, path, text));
    if (offset != NULL) *offset = at == HADDR_UNDEF ? -1 : (int64_t)at;
    return VJ_OK;
}

vj_status vj_h5_write(vj_h5 *f, const char *path, const void *data)
{
    lock();
    herr_t rc = -1;
    const char *text = "";
    hid_t set = H5Dopen2(f->file, path, H5P_DEFAULT);
    if (set >= 0) {
        hid_t type = H5Dget_type(set);   // little-endian on file and in memory: this project runs on such machines only
        rc = H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
        if (rc < 0) text = library_text();
        H5Tclose(type);
        H5Dclose(set);
    } else {
        text = library_text();
    }
    unlock();
    if (rc < 0) return note(f, vj_fail(VJ_ERR_IO, "%s: cannot write dataset %s: %s", f->path, path, text));
    return VJ_OK;
}

// `text_bytes` > 0: a fixed-length text instead of numbers of `type`. Type ids are taken under the lock, since asking for
// one enters the library.
static vj_status put_attribute(vj_h5 *f, const char *object, const char *name, vj_h5_type type, size_t text_bytes,
                               hsize_t count, const void *value)
{
    lock();
    herr_t rc = -1;
    hid_t stored = H5Tcopy(text_bytes > 0 ? H5T_C_S1 : file_type(type));
    if (text_bytes > 0) {
        H5Tset_size(stored, text_bytes);
        H5Tset_cset(stored, H5T_CSET_UTF8);
    }
    hid_t o = H5Oopen(f->file, object, H5P_DEFAULT), attribute = -1;
    hid_t space = count == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL);
    if (o >= 0) attribute = H5Acreate2(o, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute >= 0) rc = H5Awrite(attribute, stored, value);
    const char *text = rc < 0 ? library_text() : "";
    if (attribute >= 0) H5Aclose(attribute);
    if (o >= 0) H5Oclose(o);
    H5Sclose(space);
    H5Tclose(stored);
    unlock();
    if (rc < 0) return note(f, vj_fail(VJ_ERR_IO, "%s: cannot write attribute %s of %s: %s", f->path, name, object, text));
    return VJ_OK;
}

vj_status vj_h5_put_i64(vj_h5 *f, const char *object, const char *name, int64_t value)
{
    return put_attribute(f, object, name, VJ_H5_I64, 0, 0, &value);
}

vj_status vj_h5_put_u64(vj_h5 *f, const char *object, const char *name, uint64_t value)
{
    return put_attribute(f, object, name, VJ_H5_U64, 0, 0, &value);
}

vj_status vj_h5_put_text(vj_h5 *f, const char *object, const char *name, const char *value)
{
    return put_attribute(f, object, name, VJ_H5_U8, strlen(value) + 1, 0, value);
}

vj_status vj_h5_put_bytes(vj_h5 *f, const char *object, const char *name, const void *data, int64_t bytes)
{
    VJ_ASSERT(bytes > 0);
    return put_attribute(f, object, name, VJ_H5_U8, 0, (hsize_t)bytes, data);
}

// ---- reading -------------------------------------------------------------------------------------------------------

static hid_t open_read_only(const char *path)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(fapl, 0, 1);
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, fapl);
    H5Pclose(fapl);
    return file;
}

static herr_t touch_attribute(hid_t object, const char *name, const H5A_info_t *info, void *context)
{
    (void)context;
    if (info->data_size > (1 << 20)) return 0;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return -1;
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    void *value = calloc(1, (size_t)info->data_size + 64);
    herr_t rc = 0;
    // Variable-length values would come back as pointers; none of our files has them.
    if (value != NULL && H5Tis_variable_str(type) <= 0 && H5Tget_class(type) != H5T_VLEN &&
        H5Aget_storage_size(attribute) <= info->data_size) {
        rc = H5Aread(attribute, type, value);
    }
    free(value);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return rc;
}

static herr_t touch_object(hid_t file, const char *name, const H5O_info_t *info, void *context)
{
    int *count = context;
    if (++*count > MAX_OBJECTS) return -1;
    if (info->type != H5O_TYPE_DATASET && info->type != H5O_TYPE_GROUP) return 0;
    hid_t object = H5Oopen(file, name, H5P_DEFAULT);
    if (object < 0) return -1;
    hsize_t at = 0;
    herr_t rc = H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_NATIVE, &at, touch_attribute, NULL);
    if (rc >= 0 && info->type == H5O_TYPE_DATASET) {
        hid_t type = H5Dget_type(object), space = H5Dget_space(object), plist = H5Dget_create_plist(object);
        if (type < 0 || space < 0 || plist < 0) rc = -1;
        (void)H5Dget_offset(object);
        if (type >= 0) H5Tclose(type);
        if (space >= 0) H5Sclose(space);
        if (plist >= 0) H5Pclose(plist);
    }
    H5Oclose(object);
    return rc;
}

// The child: everything that we shall ask of the file is asked here once, where a crash harms nobody.
static void probe_child(const char *path, int out)
{
    for (int s = 1; s < 32; s++) signal(s, SIG_DFL);
    const struct rlimit cpu = { PROBE_SECONDS, PROBE_SECONDS }, none = { 0, 0 };
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &none);
    const int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDERR_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const char *text = NULL;
    int count = 0;
    const hid_t file = open_read_only(path);
    if (file < 0) text = library_text();
    else if (H5Ovisit(file, H5_INDEX_NAME, H5_ITER_NATIVE, touch_object, &count) < 0) text = library_text();
    if (text != NULL) {
        const ssize_t ignored = write(out, text, strlen(text));
        (void)ignored;
        _exit(1);
    }
    _exit(0);
}

// Waits for the child without trusting it to end.
static int wait_child(pid_t child)
{
    const double end = vj_now() + PROBE_SECONDS + 5;
    int state = 0;
    for (;;) {
        const pid_t got = waitpid(child, &state, WNOHANG);
        if (got == child) return state;
        if (got < 0 && errno != EINTR) return 0x7f00;
        if (vj_now() > end) kill(child, SIGKILL);
        nanosleep(&(struct timespec){ 0, 500000 }, NULL);
    }
}

static vj_status probe_in_child(const char *path)
{
    int ends[2];
    VJ_CHECK(pipe2(ends, O_CLOEXEC) == 0, VJ_ERR_IO, "cannot make a pipe: %s", strerror(errno));
    lock();   // no thread is inside the library while we fork
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        probe_child(path, ends[1]);
    }
    unlock();
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        VJ_FAIL(VJ_ERR_NOMEM, "cannot start a process that checks %s: %s", path, strerror(errno));
    }
    const int state = wait_child(child);
    char text[201] = "";
    const ssize_t got = read(ends[0], text, 200);
    text[got > 0 ? got : 0] = '\0';
    close(ends[0]);
    if (WIFSIGNALED(state)) {
        VJ_FAIL(VJ_ERR_DATA, "%s: the HDF5 library dies on this file (signal %d): damaged or crafted", path, WTERMSIG(state));
    }
    VJ_CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0, VJ_ERR_DATA, "%s: not a readable HDF5 file: %s", path,
             text[0] != '\0' ? text : "the check failed");
    return VJ_OK;
}

vj_status vj_h5_open(vj_h5 **out, const char *path, const vj_h5_guard *guard)
{
    vj_status status = VJ_OK;
    struct stat st;

    *out = NULL;
    vj_h5 *f = new_handle(path);
    VJ_CHECK(f != NULL, VJ_ERR_NOMEM, "no memory for a file handle");
    // A FIFO must not hang us and a folder must not confuse the library.
    if (stat(path, &st) != 0) {
        status = vj_fail(VJ_ERR_IO, "cannot open %s: %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(st.st_mode)) {
        status = vj_fail(VJ_ERR_DATA, "%s is not a regular file", path);
        goto fail;
    }
    VJ_TRY_GOTO(vj_io_open_read(&f->fd, path), fail);
    f->file_bytes = (int64_t)st.st_size;
    if (guard != NULL) {
        unsigned char digest[32];
        VJ_TRY_GOTO(vj_h5_metadata_digest(path, guard->payload, guard->n, digest), fail);
        if (memcmp(digest, guard->digest, sizeof digest) != 0) {
            char found[65], wanted[65];
            vj_hex(found, digest, 32);
            vj_hex(wanted, guard->digest, 32);
            status = vj_fail(VJ_ERR_DATA, "%s: its metadata is damaged: digest %.16s..., expected %.16s...", path, found, wanted);
            goto fail;
        }
    } else {
        VJ_TRY_GOTO(probe_in_child(path), fail);
    }
    lock();
    f->file = open_read_only(path);
    const char *text = f->file < 0 ? library_text() : "";
    unlock();
    if (f->file < 0) {
        status = vj_fail(VJ_ERR_DATA, "%s: not a readable HDF5 file: %s", path, text);
        goto fail;
    }
    *out = f;
    return VJ_OK;
fail:
    free_handle(f);
    return status;
}

static bool match_type(hid_t found, vj_h5_type *out)
{
    for (int t = VJ_H5_U8; t <= VJ_H5_F64; t++) {
        if (H5Tequal(found, file_type((vj_h5_type)t)) > 0) {
            *out = (vj_h5_type)t;
            return true;
        }
    }
    return false;
}

// Under the lock. Fills everything or returns a reason.
static const char *inspect(vj_h5 *f, const char *path, vj_h5_type *type, int *rank, int64_t dims[2], int64_t *offset)
{
    const char *reason = NULL;
    hid_t set = H5Dopen2(f->file, path, H5P_DEFAULT);
    if (set < 0) return "there is no such dataset";
    hid_t t = H5Dget_type(set), space = H5Dget_space(set), plist = H5Dget_create_plist(set);
    hsize_t sizes[2] = { 1, 1 };
    if (t < 0 || space < 0 || plist < 0) reason = "its description cannot be read";
    else if (!match_type(t, type)) reason = "its element type is none of ours (little-endian integers and floats)";
    else if ((*rank = H5Sget_simple_extent_ndims(space)) < 1 || *rank > 2) reason = "its rank is not 1 or 2";
    else if (H5Sget_simple_extent_dims(space, sizes, NULL) < 0) reason = "its sizes cannot be read";
    else if (sizes[0] > INT64_MAX / 16 || (sizes[1] != 0 && sizes[0] > INT64_MAX / 16 / sizes[1])) reason = "its size is absurd";
    if (reason == NULL) {
        dims[0] = (int64_t)sizes[0];
        dims[1] = *rank == 2 ? (int64_t)sizes[1] : 1;
        *offset = -1;
        if (H5Pget_layout(plist) == H5D_CONTIGUOUS && H5Pget_nfilters(plist) == 0 && H5Pget_external_count(plist) == 0) {
            const haddr_t at = H5Dget_offset(set);
            const int64_t bytes = dims[0] * dims[1] * (int64_t)vj_h5_type_size(*type);
            if (at != HADDR_UNDEF) {
                if (bytes > f->file_bytes || at > (haddr_t)(f->file_bytes - bytes)) reason = "it reaches beyond the file's end: truncated";
                else *offset = (int64_t)at;
            }
        }
    }
    if (t >= 0) H5Tclose(t);
    if (space >= 0) H5Sclose(space);
    if (plist >= 0) H5Pclose(plist);
    H5Dclose(set);
    return reason;
}

vj_status vj_h5_info(vj_h5 *f, const char *path, vj_h5_type *type, int *rank, int64_t dims[2], int64_t *offset)
{
    vj_h5_type t = VJ_H5_U8;
    int r = 0;
    int64_t at = -1;
    dims[0] = dims[1] = 0;
    lock();
    const char *reason = inspect(f, path, &t, &r, dims, &at);
    unlock();
    VJ_CHECK(reason == NULL, VJ_ERR_DATA, "%s: dataset %s: %s", f->path, path, reason);
    if (type != NULL) *type = t;
    if (rank != NULL) *rank = r;
    if (offset != NULL) *offset = at;
    return VJ_OK;
}

bool vj_h5_exists(vj_h5 *f, const char *path)
{
    lock();
    // H5Lexists needs every parent to exist: walk down.
    char part[512];
    bool found = strlen(path) < sizeof part;
    for (size_t i = 1; found && i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (i > 1 || path[0] != '/') found = H5Lexists(f->file, part, H5P_DEFAULT) > 0;
    }
    unlock();
    return found;
}

vj_status vj_h5_read(vj_h5 *f, const char *path, vj_h5_type type, int64_t count, void *data)
{
    vj_h5_type found;
    int rank;
    int64_t dims[2], offset;
    VJ_TRY(vj_h5_info(f, path, &found, &rank, dims, &offset));
    VJ_CHECK(found == type, VJ_ERR_DATA, "%s: dataset %s has another element type than expected", f->path, path);
    VJ_CHECK(dims[0] * dims[1] == count, VJ_ERR_DATA, "%s: dataset %s has %lld elements, expected %lld", f->path, path,
             (long long)(dims[0] * dims[1]), (long long)count);
    if (count == 0) return VJ_OK;
    VJ_CHECK(offset >= 0, VJ_ERR_DATA, "%s: dataset %s is chunked, compressed or not allocated; only contiguous data is read",
             f->path, path);
    VJ_ASSERT(!f->writing);
    return vj_io_pread(f->fd, data, (size_t)count * vj_h5_type_size(type), (off_t)offset, f->path);
}

typedef enum attribute_class { WANT_INTEGER, WANT_TEXT, WANT_BYTES } attribute_class;

// Under the lock: reads an attribute of the wanted class into `out` (`size` bytes), or returns a reason.
static const char *read_attribute(vj_h5 *f, const char *object, const char *name, attribute_class want, vj_h5_type memory,
                                  void *out, size_t size)
{
    const char *reason = NULL;
    hid_t o = H5Oopen(f->file, object, H5P_DEFAULT);
    if (o < 0) return "there is no such object";
    hid_t attribute = H5Aexists(o, name) > 0 ? H5Aopen(o, name, H5P_DEFAULT) : -1;
    if (attribute < 0) {
        H5Oclose(o);
        return "it is missing";
    }
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    const hssize_t count = H5Sget_simple_extent_npoints(space);
    if (want == WANT_INTEGER && (H5Tget_class(type) != H5T_INTEGER || count != 1)) reason = "it is not one integer";
    if (want == WANT_BYTES && (H5Tget_class(type) != H5T_INTEGER || H5Tget_size(type) != 1 || count != (hssize_t)size)) {
        reason = "it does not have the expected number of bytes";
    }
    if (want == WANT_TEXT) {
        if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) > 0 || count != 1) reason = "it is not a text";
        else if (H5Tget_size(type) > size) reason = "its text is too long";
    }
    if (reason == NULL && H5Aread(attribute, want == WANT_TEXT ? type : file_type(memory), out) < 0) reason = library_text();
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    H5Oclose(o);
    return reason;
}

static vj_status get_attribute(vj_h5 *f, const char *object, const char *name, attribute_class want, vj_h5_type memory,
                               void *out, size_t size)
{
    lock();
    const char *reason = read_attribute(f, object, name, want, memory, out, size);
    unlock();
    VJ_CHECK(reason == NULL, VJ_ERR_DATA, "%s: attribute %s of %s: %s", f->path, name, object, reason);
    return VJ_OK;
}

vj_status vj_h5_get_i64(vj_h5 *f, const char *object, const char *name, int64_t *value)
{
    return get_attribute(f, object, name, WANT_INTEGER, VJ_H5_I64, value, sizeof *value);
}

vj_status vj_h5_get_u64(vj_h5 *f, const char *object, const char *name, uint64_t *value)
{
    return get_attribute(f, object, name, WANT_INTEGER, VJ_H5_U64, value, sizeof *value);
}

vj_status vj_h5_get_text(vj_h5 *f, const char *object, const char *name, char *out, size_t size)
{
    VJ_ASSERT(size > 0);
    memset(out, 0, size);
    VJ_TRY(get_attribute(f, object, name, WANT_TEXT, VJ_H5_U8, out, size));
    VJ_CHECK(memchr(out, '\0', size) != NULL, VJ_ERR_DATA, "%s: attribute %s of %s: its text is too long", f->path, name, object);
    return VJ_OK;
}

vj_status vj_h5_get_bytes(vj_h5 *f, const char *object, const char *name, void *out, int64_t bytes)
{
    return get_attribute(f, object, name, WANT_BYTES, VJ_H5_U8, out, (size_t)bytes);
}

// ---- both ----------------------------------------------------------------------------------------------------------

const char *vj_h5_path(const vj_h5 *f) { return f->path; }

vj_status vj_h5_close(vj_h5 **f)
{
    vj_h5 *h = *f;
    if (h == NULL) return VJ_OK;
    *f = NULL;
    lock();
    errno = 0;
    const herr_t rc = H5Fclose(h->file);
    const int error = errno;
    const char *text = rc < 0 ? library_text() : "";
    unlock();
    vj_status status = VJ_OK;
    if (h->first_error != VJ_OK) status = vj_fail_text(h->first_error, h->first_text);
    else if (rc < 0) status = vj_fail(VJ_ERR_IO, "cannot finish %s: %s", h->path, error != 0 ? strerror(error) : text);
    free_handle(h);
    return status;
}

void vj_h5_abandon(vj_h5 **f)
{
    vj_h5 *h = *f;
    if (h == NULL) return;
    *f = NULL;
    lock();
    (void)H5Fclose(h->file);
    unlock();
    free_handle(h);
}

// Adds the file's bytes [from, to) to the digest.
static vj_status digest_range(vj_sha256 *h, int fd, int64_t from, int64_t to, unsigned char *buffer, size_t size, const char *path)
{
    while (from < to) {
        const size_t n = (int64_t)size < to - from ? size : (size_t)(to - from);
        VJ_TRY(vj_io_pread(fd, buffer, n, (off_t)from, path));
        vj_sha256_add(h, buffer, n);
        from += (int64_t)n;
    }
    return VJ_OK;
}

vj_status vj_h5_metadata_digest(const char *path, const vj_h5_range *payload, int64_t n, unsigned char out[32])
{
    vj_status status = VJ_OK;
    enum { CHUNK = 1 << 18 };
    int fd = -1;
    struct stat st;
    int64_t at = 0;
    vj_sha256 h;
    unsigned char *buffer = malloc(CHUNK);

    VJ_CHECK(buffer != NULL, VJ_ERR_NOMEM, "no memory to check %s", path);
    VJ_TRY_GOTO(vj_io_open_read(&fd, path), done);
    if (fstat(fd, &st) != 0) {
        status = vj_fail(VJ_ERR_IO, "cannot stat %s: %s", path, strerror(errno));
        goto done;
    }
    vj_sha256_start(&h);
    for (int64_t i = 0; i < n; i++) {
        const vj_h5_range r = payload[i];
        if (r.offset < at || r.bytes < 0 || r.bytes > (int64_t)st.st_size || r.offset > (int64_t)st.st_size - r.bytes) {
            status = vj_fail(VJ_ERR_DATA, "%s: %lld bytes, but payload is expected at %lld..%lld: truncated or another file", path,
                             (long long)st.st_size, (long long)r.offset, (long long)(r.offset + r.bytes));
            goto done;
        }
        VJ_TRY_GOTO(digest_range(&h, fd, at, r.offset, buffer, CHUNK, path), done);
        at = r.offset + r.bytes;
    }
    VJ_TRY_GOTO(digest_range(&h, fd, at, (int64_t)st.st_size, buffer, CHUNK, path), done);
    vj_sha256_end(&h, out);
done:
    free(buffer);
    vj_io_close(&fd);
    return status;
}
