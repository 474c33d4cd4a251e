/* ACLs as libacl has them. libacl is loaded when it is first needed: few
 * programs use this, and they have it already. */

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "shim.h"

#define ACCESS_TYPE 0x8000 /* ACL_TYPE_ACCESS and ACL_TYPE_DEFAULT of sys/acl.h */
#define DEFAULT_TYPE 0x4000
#define ABBREVIATE_NUMERIC (0x10 | 0x08) /* TEXT_ABBREVIATE | TEXT_NUMERIC_IDS of acl/libacl.h */

static void *(*from_text)(const char *text);
static char *(*to_text)(void *acl, const char *prefix, char separator, const char *suffix, int options);
static int (*free_acl)(void *acl);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find(void)
{
	void *so = dlopen("libacl.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!so)
		return;
	from_text = (void *(*)(const char *))dlsym(so, "acl_from_text");
	to_text = (char *(*)(void *, const char *, char, const char *, int))dlsym(so, "acl_to_any_text");
	free_acl = (int (*)(void *))dlsym(so, "acl_free");
}

/* attribute is the name of the virtual attribute that bricks have for a type. */
static const char *attribute(acl_type_t type)
{
	pthread_once(&once, find);
	if (type != ACCESS_TYPE && type != DEFAULT_TYPE) {
		errno = EINVAL;
		return NULL;
	}
	if (!from_text || !to_text || !free_acl) {
		errno = ENOTSUP;
		return NULL;
	}
	return type == ACCESS_TYPE ? "glusterfs.posix.acl" : "glusterfs.posix.default_acl";
}

acl_t glfs_h_acl_get(glfs_t *fs, glfs_object_t *object, acl_type_t type)
{
	const char *name = attribute(type);
	if (!name)
		return NULL;
	for (int size = 1024;; size *= 4) {
		char *text = malloc((size_t)size + 1);
		if (!text) {
			errno = ENOMEM;
			return NULL;
		}
		int n = glfs_h_getxattrs(fs, object, name, text, (size_t)size);
		if (n >= 0) {
			text[n] = 0;
			acl_t acl = from_text(text);
			int err = acl ? 0 : errno;
			free(text);
			errno = err;
			return acl;
		}
		int err = errno;
		free(text);
		errno = err;
		if (err != ERANGE || size > (1 << 20))
			return NULL;
	}
}

int glfs_h_acl_set(glfs_t *fs, glfs_object_t *object, acl_type_t type, acl_t acl)
{
	const char *name = attribute(type);
	if (!name)
		return -1;
	if (!acl) {
		errno = EINVAL;
		return -1;
	}
	char *text = to_text((void *)acl, NULL, ',', NULL, ABBREVIATE_NUMERIC);
	if (!text)
		return -1;
	size_t size = 0;
	while (text[size])
		size++;
	int ret = glfs_h_setxattrs(fs, object, name, text, size + 1, 0);
	int err = errno;
	free_acl(text);
	errno = err;
	return ret;
}
