// Without libFuzzer: runs a target over files and folders of files. Ends with 0 when none of them brought it down.

#include <dirent.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static int replayed;

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    if (!f) return 1;
    size_t n = 0, room = 1 << 16;
    uint8_t *data = malloc(room);
    while (data) {
        n += fread(data + n, 1, room - n, f);
        if (n < room) break;
        room *= 2;
        uint8_t *grown = realloc(data, room);
        if (!grown) free(data);
        data = grown;
    }
    fclose(f);
    if (!data) return 1;
    uint8_t *exact = malloc(n > 0 ? n : 1);   // so that a sanitizer sees reads beyond the end
    if (!exact) return 1;
    memcpy(exact, data, n);
    free(data);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    replayed++;
    return 0;
}

static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: no such file or folder\n", path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode)) return replay_file(path);
    DIR *dir = opendir(path);
    int wrong = dir ? 0 : 1;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        char inner[1200];
        if (e->d_name[0] == '.') continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        wrong |= replay(inner);
    }
    if (dir) closedir(dir);
    return wrong;
}

int main(int argc, char **argv)
{
    int wrong = 0;
    for (int i = 1; i < argc; i++) wrong |= replay(argv[i]);
    printf("%d inputs\n", replayed);
    return wrong || replayed == 0;
}
